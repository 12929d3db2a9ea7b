"""A dlt source without a pipeline: its tables, its pages, and the state that each may go on from."""

import asyncio
import json
import sys
from contextlib import aclosing
from typing import Any

import pytest

from milepost.connectors import Table, source_from
from milepost.errors import (
    AuthenticationRefused,
    ConnectorError,
    FatalConnectorError,
    RetryableConnectorError,
)
from tests.connectors.dlt import shop
from tests.connectors.dlt.conftest import ids, opened, pages_of


async def test_selected_resources_are_the_tables_with_keys_and_columns_from_their_hints() -> None:
    columns: Any = {"at": "timestamp", "lines": "json"}
    assert await opened().tables() == [
        Table("orders", ("id",), columns), Table("archives", ("a", "b")), Table("noted", ("a",)),
        Table("notes", ("id",)),
    ]  # fmt: skip
    assert await opened(tables=["hidden"]).tables() == [Table("hidden")]
    assert await opened("words").tables() == [Table("words")]


async def test_records_are_json_and_nested_data_stay_where_they_are() -> None:
    first, *_ = await pages_of(opened(), "orders")
    assert first.records[0] == {
        "id": 1, "at": "2026-01-02T00:00:00Z", "price": "1.10", "lines": [{"sku": "s1"}]
    }  # fmt: skip
    assert ids(await pages_of(opened("words"), "words"), "value") == ["one", "two"]


async def test_what_rises_goes_on_after_each_page() -> None:
    pages = await pages_of(opened(), "orders")
    assert ids(pages) == list(range(1, 24))
    for done, page in enumerate(pages[:-1], 1):
        rest = await pages_of(opened(), "orders", json.loads(json.dumps(page.cursor)))
        assert ids(rest) == ids(pages[done:])


@pytest.mark.parametrize(("table", "key"), [("orders", "id"), ("noted", "a"), ("notes", "id")])
async def test_where_a_state_may_be_ahead_of_the_records_a_page_goes_on_from_the_beginning(
    table: str, key: str
) -> None:
    source = opened(arguments={"rising": False})
    pages = await pages_of(source, table)
    assert len(pages) >= 3
    for page in pages[:-1]:
        # A transformer's records come in no order.
        again = ids(await pages_of(source, table, page.cursor), key)
        assert sorted(again) == list(range(1, 24))
    # At the end it is right: the next pass begins there.
    assert ids(await pages_of(source, table, pages[-1].bookmark), key) == []
    more = opened(arguments={"rising": False, "count": 25})
    assert sorted(ids(await pages_of(more, table, pages[-1].bookmark), key)) == [24, 25]


async def test_a_resource_that_replaces_begins_anew_and_leaves_no_bookmark() -> None:
    first, *_, last = await pages_of(opened(), "archives")
    assert last.bookmark is None
    for page in (first, last):
        assert ids(await pages_of(opened(), "archives", page.cursor), "a") == list(range(1, 13))


async def test_a_resource_without_a_state_leaves_no_bookmark() -> None:
    *_, last = await pages_of(opened("words"), "words")
    assert last.bookmark is None


async def test_a_large_batch_becomes_several_pages_that_go_on_before_it() -> None:
    source = opened("big", arguments={"count": 103})
    pages = await pages_of(source, "big")
    assert ids(pages) == list(range(103))
    assert max(len(page.records) for page in pages) <= 20
    # Of a batch that rises, the state is that of its end: a page inside of it begins before it.
    source = opened(arguments={"count": 60, "size": 50})
    pages = await pages_of(source, "orders")
    assert len(pages) > 5
    for done, page in enumerate(pages[:-1], 1):
        rest = await pages_of(source, "orders", page.cursor)
        assert {*ids(pages[:done]), *ids(rest)} == set(range(1, 61))


async def test_arguments_are_templates_and_dlt_has_its_own_configuration() -> None:
    source = opened(arguments={"token": "$TOKEN"}, env={"TOKEN": "open sesame"})
    await source.tables()
    assert shop.SEEN == ["open sesame"]
    shop.SEEN.clear()
    await opened().tables()
    assert shop.SEEN == ["from dlt's own configuration"]
    with pytest.raises(FatalConnectorError, match="arguments.token holds a secret in plain text"):
        source_from("dlt:shop.shop", arguments={"token": "plain"})


@pytest.mark.parametrize(
    ("why", "error"),
    [
        ("401", AuthenticationRefused), ("403", AuthenticationRefused), ("404", FatalConnectorError),
        ("500", RetryableConnectorError), ("429", RetryableConnectorError),
        ("connection", RetryableConnectorError), ("bug", RetryableConnectorError),
    ],
)  # fmt: skip
async def test_an_error_is_named_by_what_to_do(why: str, error: type[ConnectorError]) -> None:
    source = opened("broken", arguments={"why": why, "secret_text": "$T"}, env={"T": "open sesame"})
    with pytest.raises(ConnectorError) as caught:
        await pages_of(source, "broken")
    assert type(caught.value) is error
    assert "open sesame" not in str(caught.value)
    assert why == "connection" or "$T" in str(caught.value)
    if isinstance(caught.value, RetryableConnectorError):
        after = caught.value.retry_after
        assert (None if after is None else after.total_seconds()) == (7 if why == "429" else None)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("nosuch", {}, "has no nosuch"),
        ("nothing", {}, "cannot be called"),
        ("shop", {"arguments": {"colour": 1}}, "cannot be called"),
        ("shop", {"tables": ["nosuch"]}, "no resource 'nosuch'; it has: orders, archives"),
        ("dlt.nosuch.source", {}, "no module dlt.nosuch"),
        ("unconfigured", {}, "api_key"),
    ],
)
async def test_what_can_never_work_is_named(name: str, options: Any, said: str) -> None:
    source = opened(name, **options)

    async def read() -> None:
        await source.tables()
        await pages_of(source, name)

    with pytest.raises(FatalConnectorError, match=said):
        await read()


async def test_a_source_that_takes_long_is_given_up_at_once_and_its_answer_dropped() -> None:
    source = opened("slow", page_size=1)
    async with aclosing(source.pages("slow", after=None)) as pages:
        await anext(pages)
        reading = asyncio.ensure_future(anext(pages))
        await asyncio.sleep(0.1)
        reading.cancel()
        await asyncio.wait([reading], timeout=0.5)
        assert reading.cancelled()
    assert shop.SEEN == []


async def test_without_dlt_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.startswith("milepost.connectors.dlt.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dlt.extract", None)
    with pytest.raises(FatalConnectorError, match=r"pip install 'milepost\[dlt\]'"):
        opened()
