"""Flows on BullMQ: what waits for others is not there, and comes at once when they have ended."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from milepost import JobFailed, Milepost, Settings, WorkerSettings
from milepost.jobs.leases import Settlement
from milepost.jobs.outcomes import Completed, Waiting
from milepost.jobs.states import JobState
from milepost.settings import RedisSettings
from tests.brokers.bullmq_line import BullmqLine
from tests.store.family import add_children
from tests.worker import flows
from tests.worker.flows import square, sum_of_squares
from tests.worker.waiting import SOON

S = JobState


async def test_a_job_that_waits_is_not_there_until_it_is_available(
    bullmq_line: BullmqLine,
) -> None:
    child = await bullmq_line.start()
    waiting = await bullmq_line.submit(after=(child.lease.job_id,))
    await bullmq_line.broker().reconcile()
    assert await bullmq_line.entry(waiting) is None
    await bullmq_line.settle(child, Completed("1"))
    # Without a reconciler, and without a second look.
    assert (await bullmq_line.shown(waiting))[0] == "waiting"
    job = await bullmq_line.receive_one()
    assert job.lease.job_id == waiting


async def test_a_job_that_waits_for_its_children_rests_and_comes_again(
    bullmq_line: BullmqLine,
) -> None:
    parent = await bullmq_line.start()
    [child_id] = add_children(bullmq_line.store, parent.lease)
    assert await bullmq_line.settle(parent, Waiting()) is S.SCHEDULED
    assert (await bullmq_line.shown(parent.lease.job_id))[0] == "delayed"
    # Its settlement has sent the child.
    child = await bullmq_line.receive_one()
    assert child.lease.job_id == child_id
    await bullmq_line.settle(child, Completed("1"))
    again = await bullmq_line.receive_one()
    assert again.lease == (parent.lease.job_id, 2)
    await bullmq_line.settle(again, Completed("1"))
    await bullmq_line.assert_nothing_waits()


async def test_children_that_end_first_leave_nothing_to_wait_for(bullmq_line: BullmqLine) -> None:
    parent = await bullmq_line.start()
    [child_id] = add_children(bullmq_line.store, parent.lease)
    await bullmq_line.broker().send([child_id])
    child = await bullmq_line.receive_one()
    settlements = [Settlement(child, Completed("1")), Settlement(parent, Waiting())]
    states = await bullmq_line.broker().settle(settlements)
    assert states[parent.lease] is S.AVAILABLE
    assert (await bullmq_line.receive_one()).lease == (parent.lease.job_id, 2)


async def test_a_retried_one_that_waits_is_brought_back_when_it_is_available(
    bullmq_line: BullmqLine,
) -> None:
    parent = await bullmq_line.start()
    [child_id] = add_children(bullmq_line.store, parent.lease)
    await bullmq_line.settle(parent, Waiting())
    bullmq_line.store.cancel(child_id)
    await bullmq_line.broker().send([child_id, parent.lease.job_id])
    assert (await bullmq_line.shown(parent.lease.job_id))[0] == "failed"
    bullmq_line.store.retry(child_id)
    await bullmq_line.broker().send([child_id, parent.lease.job_id])
    child = await bullmq_line.receive_one()
    assert child.lease.job_id == child_id
    await bullmq_line.settle(child, Completed("1"))
    assert (await bullmq_line.receive_one()).lease == (parent.lease.job_id, 2)


@pytest.fixture
async def milepost(redis_settings: RedisSettings, tmp_path: Path) -> AsyncIterator[Milepost]:
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/store.db",
        redis=redis_settings,
        worker=WorkerSettings(concurrency=8),
    )
    definitions = (square, sum_of_squares, flows.split_in_coroutine)
    async with Milepost(definitions, settings=settings, observers=()) as made:
        yield made


async def test_flows_run_and_fail_and_are_cancelled(milepost: Milepost) -> None:
    children = await milepost.submit_many(square, [1, 2, 3])
    top = await milepost.submit(sum_of_squares, "", after=children)
    cancelled = await milepost.submit(sum_of_squares, "", after=[top])
    assert (await cancelled.cancel()).cancelled
    assert (await top.view()).state is S.CANCELLED
    await cancelled.retry()
    async with milepost.worker():
        assert await top.result(SOON) == 14
        assert await cancelled.result(SOON) == 0
        split = await milepost.submit(flows.split_in_coroutine, [4, 5])
        assert await split.result(SOON) == 41
        failing = await milepost.submit(flows.split_in_coroutine, [4, -5])
        with pytest.raises(JobFailed, match="-5 is below zero"):
            await failing.result(SOON)
