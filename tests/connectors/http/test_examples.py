"""The examples of sources, each against a server that behaves as the API it is for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from milepost.connectors import Access, HttpSource, Secrets, source_from
from milepost.connectors.http.connector import HttpConnector
from milepost.errors import AuthenticationRefused, CursorExpired
from tests.connectors.conftest import Opened, Server, assert_resumes
from tests.connectors.http.apis import APIS, Airtable, Api, GitHub, Stripe

EXAMPLES = Path(__file__).parents[3] / "examples" / "sources"


class Example:
    """One example, pointed at a server of ours."""

    def __init__(self, api: Api, server: Server) -> None:
        self.api = api
        self._server = server
        self._opened: list[HttpConnector] = []

    def open(self, **values: str) -> Opened:
        source = source_from(f"rest:{EXAMPLES / self.api.example}.yaml")
        assert isinstance(source, HttpSource)
        secrets = Secrets({**self.api.values, **values})

        async def sleep(_: float) -> None: ...

        waited: list[float] = []
        access = Access(
            secrets=secrets, sleep=sleep,
            on_wait=lambda _, wait: waited.append(wait.total_seconds()),
        )  # fmt: skip
        path = source.url.partition("://")[2].partition("/")[2]
        connector = HttpConnector(replace(source, url=f"{self._server.url}/{path}"), access)
        self._opened.append(connector)
        one = Opened(connector, secrets)
        one.waited = waited
        return one

    async def aclose(self) -> None:
        for connector in self._opened:
            await connector.aclose()


@asynccontextmanager
async def example_of(api: Api) -> AsyncIterator[Example]:
    server = Server(api.answer)
    await server.start()
    found = Example(api, server)
    try:
        yield found
    finally:
        await found.aclose()
        await server.aclose()


@pytest.fixture(params=APIS, ids=lambda api: api.example)
async def example(request: pytest.FixtureRequest) -> AsyncIterator[Example]:
    async with example_of(request.param()) as found:
        yield found


def test_there_is_a_server_for_each_example() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == {api.example for api in APIS}


async def test_all_tables_are_read_in_full_and_go_on_after_every_page(example: Example) -> None:
    one = example.open()
    assert [table.name for table in await one.connector.tables()] == list(example.api.tables)
    for table, rows in example.api.tables.items():
        pages = await one.pages(table)
        assert [dict(record) for page in pages for record in page.records] == rows
        for done in range(1, len(pages)):
            before = [record for page in pages[:done] for record in page.records]
            assert [*before, *await one.records(table, pages[done - 1].cursor)] == rows
    assert (await one.connector.test()).problem is None


async def test_a_refusal_for_too_many_requests_is_sat_out(example: Example) -> None:
    example.api.asked_too_fast = 2
    one = example.open()
    [table, *_] = example.api.tables
    assert await one.records(table) == example.api.tables[table]
    assert one.waited


async def test_another_token_is_refused_and_named(example: Example) -> None:
    [secret] = [name for name, value in example.api.values.items() if value == "token-of-ours"]
    one = example.open(**{secret: "another token"})
    with pytest.raises(AuthenticationRefused, match=rf"401 Unauthorized.*Check \${secret}"):
        await one.pages(next(iter(example.api.tables)))


@pytest.mark.parametrize(
    ("api", "table", "count"),
    [(GitHub(), "issues", 1), (Stripe(), "charges", 9)],
    ids=["github", "stripe"],
)
async def test_later_only_what_is_new_is_asked_for(api: Api, table: str, count: int) -> None:
    async with example_of(api) as example:
        one = example.open()
        bookmark = None
        # GitHub counts its pages: there each pass begins where the one before began.
        for _ in range(2):
            bookmark = (await one.pages(table, bookmark))[-1].bookmark
        # Stripe's look-back is longer than all of the records are apart.
        assert len(await one.records(table, bookmark)) == count


async def test_a_cursor_that_airtable_has_forgotten_says_so() -> None:
    api = Airtable()
    async with example_of(api) as example:
        one = example.open()
        pages: list[Any] = await assert_resumes(one, "tasks")
        api.iterator = "itr2"
        with pytest.raises(CursorExpired, match="422"):
            await one.pages("tasks", pages[0].cursor)
