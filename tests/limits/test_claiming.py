"""Claims under limits in the store: by many at once, after deaths, on both databases."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from milepost.brokers.claiming import claim
from milepost.jobs.leases import ClaimedJob, Settlement
from milepost.jobs.outcomes import Completed, Snoozed
from milepost.jobs.requests import SubmitOptions, request
from milepost.store import jobs, limits, schema, submitting
from milepost.store.database import Database, open_database
from milepost.store.limits import QueueLimits, set_limits
from tests.limits.app import Visit, count_running, plain, take_turns, visit

MINUTE = timedelta(minutes=1)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = str(tmp_path / "store.db")
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    opened = open_database(url, threads=8)
    schema.migrate(opened)
    yield opened
    opened.close()


def submit(database: Database, *shops: str, **options: object) -> None:
    given = SubmitOptions(**options)  # type: ignore[typeddict-item]
    made = [request(visit, visit.args.dump(Visit(shop)), given, largest=1000) for shop in shops]
    with database.begin() as conn:
        submitting.submit(conn, database.clock, made)


def take(database: Database, limit: int = 10, *, worker: str = "w") -> list[ClaimedJob]:
    taken = claim(
        database, queue="default", kinds=["visit", "plain", "take-turns"], limit=limit,
        lease_for=MINUTE, worker_id=worker,
    )  # fmt: skip
    return list(taken.jobs)


def settle(database: Database, *ended: ClaimedJob) -> None:
    with database.begin() as conn:
        jobs.settle(conn, database.clock, [Settlement(job, Completed("null")) for job in ended])


def test_of_many_who_claim_at_once_none_takes_what_another_has(database: Database) -> None:
    shops = ["a", "b", "c", "d", "e"]
    submit(database, *(shops * 20))
    with ThreadPoolExecutor(6) as pool:
        for _ in range(4):
            taken = [job for batch in pool.map(lambda n: take(database, 3, worker=f"w{n}"), range(6))
                     for job in batch]  # fmt: skip
            # Two of each shop, and between them all there is: nobody gave up too soon.
            assert len(taken) == 10
            assert sorted(job.args[9] for job in taken) == sorted(shops * 2)
            settle(database, *taken)


def test_what_died_frees_its_place_and_what_lives_keeps_it(database: Database) -> None:
    submit(database, *(["a"] * 4))
    assert len(take(database, worker="dead")) == 2
    assert take(database) == []
    with database.begin() as conn:
        jobs.rescue(conn, database.clock, dead_workers=["dead"])
    again = take(database)
    assert [job.lease.attempt for job in again] == [2, 2]
    with database.begin() as conn:
        jobs.settle(conn, database.clock, [Settlement(again[0], Snoozed(MINUTE, None))])
    assert len(take(database)) == 1


def test_plain_jobs_stand_in_line_with_the_others(database: Database) -> None:
    for priority, made in ((5, visit), (1, plain), (5, plain)):
        args = '{"shop":"a"}' if made is visit else "0.0"
        with database.begin() as conn:
            submitting.submit(
                conn, database.clock,
                [request(made, args, {"priority": priority}, largest=100)] * 3,
            )  # fmt: skip
    found = [job.kind for job in take(database, 7)]
    assert found == ["plain"] * 3 + ["visit"] * 2 + ["plain"] * 2


def test_a_queues_limit_counts_plain_jobs_too(database: Database) -> None:
    with database.begin() as conn:
        made = request(plain, "0.0", {}, largest=100)
        submitting.submit(conn, database.clock, [made] * 9)
        set_limits(conn, "default", QueueLimits(concurrency=2, rate=5, per=timedelta(hours=1)))
    first = take(database)
    assert (len(first), take(database)) == (2, [])
    settle(database, *first)
    settle(database, *take(database))
    # Five have begun in this hour.
    assert len(take(database)) == 1
    with database.begin() as conn:
        set_limits(conn, "default", QueueLimits())
    assert len(take(database)) == 4


def test_turns_go_on_where_the_last_claim_ended(database: Database) -> None:
    for owner in ("ann", "bob", "cy"):
        made = request(take_turns, "1", {"owner": owner}, largest=100)
        with database.begin() as conn:
            submitting.submit(conn, database.clock, [made] * 4)
    order = [take(database, 1)[0].lane for _ in range(6)]
    assert order[:3] == order[3:]
    assert len(set(order)) == 3


def test_state_that_nobody_needs_is_deleted(database: Database) -> None:
    submit(database, "a")
    settle(database, *take(database))
    with database.begin() as conn:
        limits.forget(conn, database.clock, keep_for=MINUTE)
        assert conn.exec_driver_sql("SELECT count(*) FROM milepost_limits").scalar() == 1
        limits.forget(conn, database.clock, keep_for=-MINUTE)
        assert conn.exec_driver_sql("SELECT count(*) FROM milepost_limits").scalar() == 0
        assert count_running(conn) == 0
    submit(database, "a")
    assert len(take(database)) == 1
