"""Pages that were prepared before their turn, for a table that may have changed meanwhile."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Engine

from milepost.snapshots import Counts, Preparer, TableSpec, destination_of, write_page
from tests.snapshots.destinations import MORNING, ORDERS, begin, rows, write


class Writing:
    """Writes pages of which each was prepared, by one who knows what the table looked like."""

    def __init__(self, engine: Engine, table: TableSpec) -> None:
        self._engine, self._table = engine, table
        self._preparer = Preparer(table, destination_of(engine))
        self.made = 0

    def write(self, *pages: Sequence[dict[str, Any]]) -> list[Counts]:
        """Prepare all pages, and write them one after the other then."""
        prepared = [self._preparer.prepare(page) for page in pages]
        self.made = sum(each.laid is not None for each in prepared)
        counts = []
        for page, ready in zip(pages, prepared, strict=True):
            with self._engine.begin() as conn:
                counts.append(
                    write_page(
                        conn, self._table, page, pass_number=1, synced_at=MORNING,
                        quarantine_limit=9, prepared=ready,
                    )
                )  # fmt: skip
        return counts


@pytest.fixture
def writing(engine: Engine) -> Writing:
    begin(engine, ORDERS)
    return Writing(engine, ORDERS)


def test_a_page_that_fits_is_written_as_it_was_prepared(engine: Engine, writing: Writing) -> None:
    writing.write([{"id": 1, "n": 1, "t": "x"}])
    [counts] = writing.write([{"id": 1, "n": 2, "t": "x"}, {"id": 2}, {"n": 3}, {"id": 2, "n": 5}])

    assert writing.made == 1
    assert (counts.inserted, counts.updated, counts.quarantined) == (1, 2, 1)
    assert rows(engine) == [{"id": 1, "n": 2, "t": "x"}, {"id": 2, "n": 5, "t": None}]


def test_a_page_that_needs_another_column_is_made_when_it_is_written(
    engine: Engine, writing: Writing
) -> None:
    writing.write([{"id": 1, "n": 1}])
    writing.write([{"id": 2, "n": "two"}, {"id": 3, "new": True}])

    assert writing.made == 0
    assert rows(engine) == [
        {"id": 1, "n": "1", "new": None},
        {"id": 2, "n": "two", "new": None},
        {"id": 3, "n": None, "new": True},
    ]


def test_a_page_whose_table_has_changed_since_is_made_again(
    engine: Engine, writing: Writing
) -> None:
    at = "2024-05-06T07:08:09Z"
    writing.write([{"id": 1, "yes": True, "at": at}])
    # The second is prepared for other columns than those that the first makes text.
    writing.write([{"id": 2, "yes": "two", "at": "two"}], [{"id": 3, "yes": False, "at": at}])
    assert writing.made == 1
    assert [(row["yes"], row["at"]) for row in rows(engine)] == [
        ("true", at), ("two", "two"), ("false", at),
    ]  # fmt: skip


def test_another_writer_of_the_table_is_noticed(engine: Engine, writing: Writing) -> None:
    writing.write([{"id": 1, "n": 1}])
    write(engine, ORDERS, [{"id": 9, "other": [1]}])
    writing.write([{"id": 2, "n": 2}])

    assert writing.made == 1
    assert rows(engine)[1] == {"id": 2, "n": 2, "other": None}
    assert writing.write([{"id": 2, "n": 2}])[0].unchanged == 1
