"""PostgreSQL takes pages of new rows by COPY, and others, or what COPY refuses, by an upsert."""

from itertools import cycle
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from milepost.errors import PageRefused
from milepost.snapshots import Counts, Prepared, Preparer, destination_of
from milepost.snapshots.postgres import Lines
from tests.snapshots.destinations import ORDERS, begin, rows, write

ODD = [r"\N", r"\.", "\\", "a\tb", "a\nb", "a\r\nb", '"', "", "{}", "ü", None, "\\n", "\x01"]


class Loading:
    """Writes pages to a table, each prepared after the one before was written."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._preparer = Preparer(ORDERS, destination_of(engine))
        begin(engine, ORDERS)

    def prepare(self, *ids: int, **more: Any) -> Prepared:
        return self.prepare_all([{"id": each, "n": each, **more} for each in ids])

    def prepare_all(self, page: list[dict[str, Any]]) -> Prepared:
        return self._preparer.prepare(page)

    def write(self, ready: Prepared) -> Counts:
        return write(self._engine, ORDERS, ready.good, prepared=ready)


@pytest.fixture
def engine(postgres_url: str) -> Any:
    engine = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    yield engine
    engine.dispose()


def is_for_copy(ready: Prepared) -> bool:
    return ready.laid is not None and isinstance(ready.laid.rows.encoded, Lines)


def test_pages_are_copied_while_all_rows_are_new(engine: Engine) -> None:
    loading = Loading(engine)
    for page, copied in (((1, 2), False), ((3, 4), True), ((5, 6), True)):
        ready = loading.prepare(*page)
        assert is_for_copy(ready) is copied
        assert loading.write(ready) == Counts(inserted=2)
    with engine.begin() as conn:
        # COPY alone leaves no trace in the statements: the rows' own bookkeeping must be whole.
        assert conn.execute(
            text(
                "SELECT count(*) FROM orders WHERE _milepost_pass = 1 AND _milepost_first_pass = 1 "
                "AND _milepost_synced_at = (SELECT min(_milepost_synced_at) FROM orders)"
            )
        ).scalar_one() == 6  # fmt: skip


def test_a_row_that_is_there_sends_the_page_the_other_way(engine: Engine) -> None:
    loading = Loading(engine)
    loading.write(loading.prepare(1, 2))
    ready = loading.prepare(2, 3)
    assert is_for_copy(ready)
    assert loading.write(ready) == Counts(inserted=1, unchanged=1)

    assert not is_for_copy(loading.prepare(4))
    assert [row["id"] for row in rows(engine)] == [1, 2, 3]


def test_copied_texts_are_what_they_were(engine: Engine) -> None:
    loading = Loading(engine)
    loading.write(loading.prepare(0, t="", j={"a": "b"}, x=0.5, yes=True))
    page = [
        {"id": n, "n": None, "t": t, "j": {"a": t}, "x": x, "yes": x and False}
        for n, (t, x) in enumerate(zip(ODD, cycle([None, 1e300])), start=1)
    ]
    ready = loading.prepare_all(page)
    assert is_for_copy(ready)
    assert loading.write(ready).inserted == len(ODD)
    assert rows(engine)[1:] == page


def test_what_copy_refuses_is_told_as_the_upsert_tells_it(engine: Engine) -> None:
    loading = Loading(engine)
    loading.write(loading.prepare(1))
    with engine.begin() as conn:
        conn.execute(text("ALTER TABLE orders ADD CONSTRAINT small CHECK (n < 10)"))
    ready = loading.prepare(2, 30)
    assert is_for_copy(ready)
    with pytest.raises(PageRefused, match='violates check constraint "small"'):
        loading.write(ready)
    assert [row["id"] for row in rows(engine)] == [1]
