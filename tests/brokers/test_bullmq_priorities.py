"""Another priority, as BullMQ's own client sees it: the store decides, `send` makes Redis say so."""

from datetime import UTC, datetime, timedelta

import pytest

from milepost.jobs.outcomes import Interrupted
from milepost.store import jobs
from tests.brokers.bullmq_line import BullmqLine
from tests.store.store import HOUR


async def stands(line: BullmqLine, job_id: int) -> tuple[str, int]:
    state, entry = await line.shown(job_id)
    return state, entry.priority


@pytest.mark.parametrize(
    ("before", "after", "state"),
    [(0, 7, "prioritized"), (7, 2, "prioritized"), (7, 0, "waiting")],
)
async def test_one_that_waits_stands_where_its_priority_says(
    bullmq_line: BullmqLine, before: int, after: int, state: str
) -> None:
    job_id = await bullmq_line.submit(priority=before)
    await bullmq_line.reprioritise(job_id, after)
    assert await stands(bullmq_line, job_id) == (state, after)
    counts = await bullmq_line.queue().getJobCounts()
    assert counts["waiting"] + counts["prioritized"] == 1


async def test_one_that_is_not_due_stands_there_when_it_is(bullmq_line: BullmqLine) -> None:
    later = await bullmq_line.submit(delay=HOUR)
    await bullmq_line.reprioritise(later, 3)
    assert await stands(bullmq_line, later) == ("delayed", 3)
    bullmq_line.store.clock.turn(HOUR)
    with bullmq_line.store.database.begin() as conn:
        jobs.promote(conn, bullmq_line.store.clock, limit=1)
    await bullmq_line.broker().send([later])
    assert await stands(bullmq_line, later) == ("prioritized", 3)


async def test_one_that_runs_stands_there_when_it_comes_back(bullmq_line: BullmqLine) -> None:
    job = await bullmq_line.start()
    await bullmq_line.reprioritise(job.lease.job_id, 4)
    assert await stands(bullmq_line, job.lease.job_id) == ("active", 4)
    await bullmq_line.settle(job, Interrupted())
    assert await stands(bullmq_line, job.lease.job_id) == ("prioritized", 4)


async def test_promise_6_what_redis_was_not_told_is_found_by_comparing(
    bullmq_line: BullmqLine,
) -> None:
    bullmq_line.store.clock.present = datetime.now(UTC) - timedelta(seconds=10)
    urgent, usual = [await bullmq_line.submit(priority=9) for _ in range(2)]
    with bullmq_line.store.database.begin() as conn:
        jobs.reprioritise(conn, urgent, 1)
    await bullmq_line.broker().reconcile()
    assert await stands(bullmq_line, urgent) == ("prioritized", 1)
    assert await stands(bullmq_line, usual) == ("prioritized", 9)


async def test_what_another_program_changed_before_it_was_taken_counts(
    bullmq_line: BullmqLine,
) -> None:
    entry = await bullmq_line.entry(await bullmq_line.add({"a": 1}, priority=8))
    assert entry is not None
    await entry.changePriority({"priority": 2})
    job = await bullmq_line.receive_one()
    assert bullmq_line.store.find(job.lease.job_id).priority == 2
