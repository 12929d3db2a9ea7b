"""Checkpoints kept beside the data, and what the store learns of them at once."""

from pathlib import Path

from sqlalchemy import select, update

from milepost import open_database
from milepost.pools import Attempt
from milepost.store.tables import jobs
from tests.pools.rig import Rig, rig
from tests.stores import Stores

FIRST, SECOND = '{"number":1}', '{"number":2}'


def in_store(pool: Rig) -> tuple[str | None, int]:
    """The store's copy of the checkpoint, and the deaths in a row."""
    with pool.database.read() as conn:
        row = conn.execute(select(jobs.c.checkpoint, jobs.c.rescues)).one()
    return row.checkpoint, row.rescues


def test_the_first_new_checkpoint_clears_a_job_of_deaths_whatever_was_saved_before_it(
    stores: Stores,
    tmp_path: Path,
) -> None:
    other = open_database(str(tmp_path / "data.db"))
    with rig("thread", stores.sqlite(tmp_path / "store.db")) as pool:
        first = pool.attempt("saves", 3)
        first.take_over(other)
        first.commit(FIRST, None, None)
        assert in_store(pool) == (FIRST, 0)

        with pool.database.begin() as conn:
            conn.execute(update(jobs).values(rescues=2))
        again = Attempt(first.job._replace(checkpoint=FIRST), first.definition, pool.around)
        again.take_over(other)
        again.commit(FIRST, None, None)
        assert in_store(pool) == (FIRST, 2)
        # Nobody has written what was noted: the worker may die right after this.
        again.commit(SECOND, None, None)
        assert in_store(pool) == (SECOND, 0)
    other.close()
