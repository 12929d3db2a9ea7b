"""The contract that every connector keeps, as tests that a connector's author inherits.

Subclass ConnectorContract in a test module and give it a fixture `world`, which is your source as
a test knows it; pytest-asyncio runs the tests (`asyncio_mode = "auto"`). `faults` says which of
them your source can be made to suffer: pytest finds no tests of the others.
"""

import asyncio
import json
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import ClassVar, Final, Literal, Protocol

from milepost.connectors.connector import Connector, Cursor, Page, Record
from milepost.errors import (
    AuthenticationRefused,
    ConnectorError,
    FatalConnectorError,
    RetryableConnectorError,
)

Fault = Literal[
    "too many requests",
    "truncated",
    "repeated page",
    "slow",
    "credentials refused",
    "changed type",
    "duplicate keys",
]
"""What a source may do to its reader: always 429; a reply that ends early, once; a page twice; a
reply that takes a minute; credentials that stop being valid after the first page; a field of the
largest table that has values of another JSON type in its middle; a key of it that comes again, with
other values. With the last two `tables` says what the source holds from then on."""

# Longer than anything here takes, far shorter than the suite would bear.
PATIENCE: Final = 20.0


class World(Protocol):
    """A source with records that the test knows. `key` is the field that tells them apart."""

    key: str

    @property
    def tables(self) -> Mapping[str, Sequence[Record]]:
        """The records of each table, by name, in the source's own order.

        One of them has at least three pages, and one none.
        """
        ...

    async def open(self) -> Connector:
        """Open a connector that does not wait long between its tries."""
        ...

    async def suffer(self, fault: Fault) -> None:
        """Let the source behave so from now on."""
        ...


class ConnectorContract:
    """What a download relies on."""

    faults: ClassVar[frozenset[Fault]] = frozenset()

    def __init_subclass__(cls) -> None:
        """Take away the tests of what this source cannot suffer: pytest then finds none there."""
        for fault, test in TESTS_OF_FAULTS.items():
            if fault not in cls.faults:
                setattr(cls, test, None)

    async def test_the_tables_are_named_and_tried(self, world: World) -> None:
        async with opened(world) as connector:
            assert {table.name for table in await connector.tables()} == set(world.tables)
            report = await connector.test()
            assert (report.reached, report.authenticated, report.problem) == (True, True, None)
            assert {table.name for table in report.tables} == set(world.tables)

    async def test_each_table_is_read_in_whole_and_its_last_page_says_so(
        self, world: World
    ) -> None:
        async with opened(world) as connector:
            for table, records in world.tables.items():
                pages = await read(connector, table)
                assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
                check_same(world, [each for page in pages for each in page.records], records)

    async def test_it_goes_on_after_every_page(self, world: World) -> None:
        table = largest(world)
        async with opened(world) as connector:
            pages = await read(connector, table)
        assert len(pages) >= 3, "the world needs a table of three pages or more"
        for done in range(1, len(pages) + 1):
            before = [each for page in pages[:done] for each in page.records]
            # As the store keeps it.
            cursor = json.loads(json.dumps(pages[done - 1].cursor))
            if pages[done - 1].last:
                continue
            async with opened(world) as connector:
                rest = [
                    each for page in await read(connector, table, cursor) for each in page.records
                ]
            check_same(world, [*before, *rest], world.tables[table])

    async def test_a_table_without_records_has_one_last_page(self, world: World) -> None:
        [table] = [name for name, records in world.tables.items() if not records]
        async with opened(world) as connector:
            pages = await read(connector, table)
        assert [(list(page.records), page.last) for page in pages] == [([], True)]

    async def test_a_table_that_is_not_there_is_refused_with_those_that_are(
        self, world: World
    ) -> None:
        async with opened(world) as connector:
            error = await failure(read(connector, "no-such-table"))
        assert isinstance(error, FatalConnectorError)
        assert largest(world) in str(error)

    async def test_a_cursor_of_another_source_is_refused(self, world: World) -> None:
        async with opened(world) as connector:
            error = await failure(read(connector, largest(world), {"of": "another source"}))
        assert isinstance(error, FatalConnectorError)

    async def test_reading_stops_between_two_pages(self, world: World) -> None:
        async with opened(world) as connector:
            async with aclosing(connector.pages(largest(world), after=None)) as pages:
                first = await anext(pages)
            assert first.records
            # And the connector is as good as new.
            await read(connector, largest(world))

    async def test_closing_twice_is_closing(self, world: World) -> None:
        connector = await world.open()
        await connector.aclose()
        await connector.aclose()

    async def test_a_slow_reply_can_be_given_up(self, world: World) -> None:
        async with opened(world) as connector:
            await world.suffer("slow")
            reading = asyncio.ensure_future(read(connector, largest(world)))
            done, _ = await asyncio.wait([reading], timeout=0.1)
            assert not done, "the reply was not slow"
            reading.cancel()
            done, _ = await asyncio.wait([reading], timeout=PATIENCE)
            assert done
            assert reading.cancelled()

    async def test_a_source_that_says_too_many_is_left_alone_for_as_long_as_it_says(
        self, world: World
    ) -> None:
        await world.suffer("too many requests")
        async with opened(world) as connector:
            error = await failure(read(connector, largest(world)))
        assert isinstance(error, RetryableConnectorError)
        assert error.retry_after is not None
        assert error.retry_after > timedelta(0)

    async def test_what_ends_in_the_middle_is_asked_again_and_no_record_is_lost(
        self, world: World
    ) -> None:
        await world.suffer("truncated")
        await self._all_of_it(world)

    async def test_a_page_that_comes_twice_neither_ends_the_table_nor_hides_a_record(
        self, world: World
    ) -> None:
        await world.suffer("repeated page")
        await self._all_of_it(world)

    async def test_a_field_that_changes_its_type_is_handed_on_as_it_comes(
        self, world: World
    ) -> None:
        await world.suffer("changed type")
        records = world.tables[largest(world)]
        types = [{type(record.get(field)) for record in records} for field in records[0]]
        assert any(len(each) > 1 for each in types), "the world has no field that changes its type"
        await self._all_of_it(world)

    async def test_records_with_the_same_key_are_all_handed_on_in_their_order(
        self, world: World
    ) -> None:
        await world.suffer("duplicate keys")
        table = largest(world)
        records = world.tables[table]
        keys = [record[world.key] for record in records]
        assert len(set(keys)) < len(keys), "the world has no key that comes twice"
        async with opened(world) as connector:
            found = [each for page in await read(connector, table) for each in page.records]
        # Sorting leaves those with the same key in their order.
        check_same(world, found, records)

    async def test_credentials_that_are_refused_in_the_middle_ask_for_a_person(
        self, world: World
    ) -> None:
        await world.suffer("credentials refused")
        async with opened(world) as connector:
            error = await failure(read(connector, largest(world)))
            report = await connector.test()
        assert isinstance(error, AuthenticationRefused)
        assert (report.reached, report.authenticated) == (True, False)
        assert report.problem

    async def _all_of_it(self, world: World) -> None:
        table = largest(world)
        async with opened(world) as connector:
            pages = await read(connector, table)
        found = {each[world.key]: each for page in pages for each in page.records}
        check_same(world, list(found.values()), world.tables[table])


TESTS_OF_FAULTS: Final[Mapping[Fault, str]] = {
    "slow": "test_a_slow_reply_can_be_given_up",
    "too many requests": "test_a_source_that_says_too_many_is_left_alone_for_as_long_as_it_says",
    "truncated": "test_what_ends_in_the_middle_is_asked_again_and_no_record_is_lost",
    "repeated page": "test_a_page_that_comes_twice_neither_ends_the_table_nor_hides_a_record",
    "changed type": "test_a_field_that_changes_its_type_is_handed_on_as_it_comes",
    "duplicate keys": "test_records_with_the_same_key_are_all_handed_on_in_their_order",
    "credentials refused": "test_credentials_that_are_refused_in_the_middle_ask_for_a_person",
}


class opened:  # noqa: N801 (reads as a verb where it is used)
    """Open a connector of a world, and close it."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def __aenter__(self) -> Connector:
        self._connector = await self._world.open()
        return self._connector

    async def __aexit__(self, *_: object) -> None:
        await self._connector.aclose()


async def read(connector: Connector, table: str, after: Cursor = None) -> list[Page]:
    """Read all pages after a cursor."""
    async with asyncio.timeout(PATIENCE), aclosing(connector.pages(table, after=after)) as pages:
        return [page async for page in pages]


def largest(world: World) -> str:
    """Name the table with the most records."""
    return max(world.tables, key=lambda name: len(world.tables[name]))


def check_same(world: World, found: Sequence[Record], expected: Sequence[Record]) -> None:
    """Check that these are the same records, whatever their order."""
    ours, theirs = (
        sorted((dict(each) for each in records), key=lambda each: str(each[world.key]))
        for records in (found, expected)
    )
    for one, other in zip(ours, theirs, strict=False):
        assert one == other, f"{one} is not {other}"
    assert len(ours) == len(theirs), f"{len(ours)} records, not {len(theirs)}"


async def failure(reading: Awaitable[object]) -> ConnectorError:
    """Await what has to fail, and return the error."""
    try:
        await reading
    except ConnectorError as error:
        return error
    raise AssertionError("it did not fail")
