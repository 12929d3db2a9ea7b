"""The contract on BullMQ, and what BullMQ's own client sees of it."""

import asyncio
import json
from datetime import timedelta

import pytest

from milepost.jobs.leases import Settlement
from milepost.jobs.outcomes import (
    Cancelled,
    Completed,
    Crashed,
    Failed,
    Interrupted,
    Misfit,
    Snoozed,
)
from milepost.jobs.progress import Progress
from milepost.jobs.states import JobState
from tests.brokers.bullmq_line import BullmqLine
from tests.brokers.contract import BrokerContract, Line
from tests.store.store import HOUR, MINUTE, SECOND

S = JobState


@pytest.fixture
def line(bullmq_line: BullmqLine) -> Line:
    return bullmq_line


class TestBullmqBroker(BrokerContract):
    """The contract."""


# What BullMQ shows of jobs that Milepost submitted.


async def test_a_waiting_job_shows_its_kind_its_args_and_its_attempts(
    bullmq_line: BullmqLine,
) -> None:
    job_id = await bullmq_line.submit(args='{"a":[1,"ü"]}', max_attempts=4)
    state, entry = await bullmq_line.shown(job_id)
    assert (state, entry.name, entry.data) == ("waiting", "work", {"a": [1, "ü"]})
    assert entry.opts["attempts"] == 4


async def test_an_urgent_job_waits_by_its_priority(bullmq_line: BullmqLine) -> None:
    state, entry = await bullmq_line.shown(await bullmq_line.submit(priority=7))
    assert (state, entry.priority) == ("prioritized", 7)


async def test_a_scheduled_job_is_delayed_until_its_time(bullmq_line: BullmqLine) -> None:
    state, entry = await bullmq_line.shown(await bullmq_line.submit(delay=HOUR))
    assert (state, entry.delay) == ("delayed", 3_600_000)


async def test_a_running_job_is_active_and_locked(bullmq_line: BullmqLine) -> None:
    job = await bullmq_line.start()
    state, _ = await bullmq_line.shown(job.lease.job_id)
    assert state == "active"
    lock = bullmq_line.queue().keys[""] + f"m{job.lease.job_id}:lock"
    assert bullmq_line.redis("GET", lock) == "w1"
    bullmq_line.redis("SET", lock, "w1", "PX", 500)
    await bullmq_line.broker().renew([job.lease], lease_for=MINUTE)
    assert bullmq_line.redis("PTTL", lock) > 50_000


async def test_a_result_is_the_return_value(bullmq_line: BullmqLine) -> None:
    job = await bullmq_line.start()
    await bullmq_line.settle(job, Completed('{"rows":3}'))
    state, entry = await bullmq_line.shown(job.lease.job_id)
    assert (state, entry.returnvalue) == ("completed", {"rows": 3})


async def test_a_failure_shows_its_reason_and_its_stack(bullmq_line: BullmqLine) -> None:
    job = await bullmq_line.start()
    await bullmq_line.settle(job, Failed("no such shop", "Traceback: line 7", recoverable=False))
    state, entry = await bullmq_line.shown(job.lease.job_id)
    assert (state, entry.failedReason) == ("failed", "no such shop")
    assert entry.stacktrace == ["Traceback: line 7"]


async def test_a_retry_is_delayed_by_its_back_off(bullmq_line: BullmqLine) -> None:
    job = await bullmq_line.start()
    failed = Settlement(job, Failed("busy", "trace"), timedelta(seconds=90))
    await bullmq_line.broker().settle([failed])
    state, entry = await bullmq_line.shown(job.lease.job_id)
    assert (state, entry.delay, entry.attemptsMade) == ("delayed", 90_000, 1)
    assert (entry.failedReason, entry.stacktrace) == ("busy", ["trace"])


async def test_a_snooze_is_delayed_and_costs_no_attempt(bullmq_line: BullmqLine) -> None:
    job = await bullmq_line.start()
    await bullmq_line.settle(job, Snoozed(MINUTE))
    state, entry = await bullmq_line.shown(job.lease.job_id)
    assert (state, entry.delay, entry.attemptsMade) == ("delayed", 60_000, 0)


@pytest.mark.parametrize("priority", [0, 5])
async def test_an_interrupted_job_is_back_at_the_head_of_the_line(
    bullmq_line: BullmqLine, priority: int
) -> None:
    job = await bullmq_line.start(priority=priority)
    await bullmq_line.submit(priority=priority)
    await bullmq_line.settle(job, Interrupted())
    state, entry = await bullmq_line.shown(job.lease.job_id)
    assert (state, entry.attemptsMade) == ("prioritized" if priority else "waiting", 0)
    again = await bullmq_line.receive_one()
    assert again.lease.job_id == job.lease.job_id


async def test_a_job_left_for_a_newer_worker_is_delayed_at_no_cost_and_says_why(
    bullmq_line: BullmqLine,
) -> None:
    job = await bullmq_line.start()
    await bullmq_line.broker().settle([Settlement(job, Misfit("newer"), MINUTE)])
    state, entry = await bullmq_line.shown(job.lease.job_id)
    assert (state, entry.delay, entry.attemptsMade) == ("delayed", 60_000, 0)
    assert entry.failedReason == "newer"


async def test_a_job_that_crashed_waits_again_and_the_last_time_has_failed(
    bullmq_line: BullmqLine,
) -> None:
    job = await bullmq_line.start()
    crash = Crashed("signal 9", "its last words")
    await bullmq_line.broker().settle([Settlement(job, crash, most_rescues=2)])
    state, entry = await bullmq_line.shown(job.lease.job_id)
    assert (state, entry.attemptsMade) == ("waiting", 0)

    again = await bullmq_line.receive_one()
    await bullmq_line.broker().settle([Settlement(again, crash, most_rescues=2)])
    state, entry = await bullmq_line.shown(job.lease.job_id)
    assert state == "failed"
    assert entry.failedReason == bullmq_line.store.find(job.lease.job_id).error
    assert "died 2 times in a row" in entry.failedReason
    assert entry.stacktrace == ["its last words"]


async def test_a_cancelled_job_has_failed_with_that_reason(bullmq_line: BullmqLine) -> None:
    running = await bullmq_line.start()
    await bullmq_line.settle(running, Cancelled("enough"))
    state, entry = await bullmq_line.shown(running.lease.job_id)
    assert (state, entry.failedReason) == ("failed", "cancelled")


@pytest.mark.parametrize("options", [{}, {"priority": 3}, {"delay": HOUR}], ids=str)
async def test_promise_5_a_job_cancelled_while_it_waits_has_failed_too(
    bullmq_line: BullmqLine, options
) -> None:
    job_id = await bullmq_line.submit(**options)
    bullmq_line.store.cancel(job_id)
    await bullmq_line.broker().send([job_id])
    state, entry = await bullmq_line.shown(job_id)
    assert (state, entry.failedReason) == ("failed", "cancelled")
    counts = await bullmq_line.queue().getJobCounts()
    assert (counts["waiting"], counts["prioritized"], counts["delayed"], counts["active"]) == (
        0, 0, 0, 0,
    )  # fmt: skip


async def test_a_retried_job_waits_again(bullmq_line: BullmqLine) -> None:
    job = await bullmq_line.start()
    await bullmq_line.settle(job, Failed("no", recoverable=False))
    bullmq_line.store.retry(job.lease.job_id)
    await bullmq_line.broker().send([job.lease.job_id])
    state, entry = await bullmq_line.shown(job.lease.job_id)
    assert (state, entry.failedReason) == ("waiting", None)


async def test_progress_is_progress_with_a_percentage(bullmq_line: BullmqLine) -> None:
    job = await bullmq_line.start()
    await bullmq_line.broker().report({job.lease: Progress(3, 12, "pages")})
    _, entry = await bullmq_line.shown(job.lease.job_id)
    assert entry.progress == {"progress": 25.0, "count": 3, "total": 12, "message": "pages"}


async def test_only_the_newest_that_ended_stay(bullmq_line: BullmqLine) -> None:
    for outcome in [Completed("1")] * 12 + [Failed("no", recoverable=False)] * 7:
        await bullmq_line.settle(await bullmq_line.start(), outcome)
    counts = await bullmq_line.queue().getJobCounts()
    assert (counts["completed"], counts["failed"]) == (10, 5)


# BullMQ's own limits.


async def test_a_paused_queue_gives_nothing_until_it_is_resumed(bullmq_line: BullmqLine) -> None:
    await bullmq_line.queue().pause()
    job_id = await bullmq_line.submit()
    assert list(await bullmq_line.broker().receive("default", limit=1, lease_for=MINUTE)) == []
    await bullmq_line.queue().resume()
    assert (await bullmq_line.receive_one()).lease.job_id == job_id


async def test_a_queue_wide_concurrency_holds_over_all_workers(bullmq_line: BullmqLine) -> None:
    bullmq_line.redis("HSET", bullmq_line.queue().keys["meta"], "concurrency", 2)
    for _ in range(3):
        await bullmq_line.submit()
    first = await bullmq_line.receive(2, limit=10)
    other = bullmq_line.broker("w2")
    assert list(await other.receive("default", limit=10, lease_for=MINUTE)) == []
    # Whoever was refused waits for no longer than that takes.
    waiting = asyncio.create_task(
        other.wait(["default"], timeout=10 * SECOND, wanted=lambda _: True)
    )
    await bullmq_line.settle(first[0], Completed("1"))
    assert list(await waiting) == ["default"]
    assert len(await other.receive("default", limit=10, lease_for=MINUTE)) == 1


async def test_a_queue_wide_rate_limit_holds(bullmq_line: BullmqLine) -> None:
    bullmq_line.redis("HSET", bullmq_line.queue().keys["meta"], "max", 2, "duration", 2000)
    for _ in range(3):
        await bullmq_line.submit()
    assert len(await bullmq_line.broker().receive("default", limit=10, lease_for=MINUTE)) == 2
    assert list(await bullmq_line.broker().receive("default", limit=10, lease_for=MINUTE)) == []
    # The wait ends when the limit does.
    told = await bullmq_line.broker().wait(["default"], timeout=10 * SECOND, wanted=lambda _: True)
    assert list(told) == ["default"]
    assert len(await bullmq_line.receive(1)) == 1


# Jobs that another program added.


async def test_an_added_job_is_adopted_with_its_options(bullmq_line: BullmqLine) -> None:
    backoff = {"type": "exponential", "delay": 1500}
    entry = await bullmq_line.add({"a": 1}, attempts=7, priority=4, backoff=backoff)
    job = await bullmq_line.receive_one()
    view = bullmq_line.store.find(job.lease.job_id)
    assert (view.kind, json.loads(view.args), view.state) == ("work", {"a": 1}, S.RUNNING)
    assert (view.max_attempts, view.priority) == (7, 4)
    assert job.backoff is not None
    assert (job.backoff.first, job.backoff.factor) == (timedelta(seconds=1.5), 2.0)
    await bullmq_line.settle(job, Completed('"done"'))
    state, shown = await bullmq_line.shown(entry)
    assert (state, shown.returnvalue) == ("completed", "done")


async def test_an_added_job_without_attempts_has_those_of_its_definition(
    bullmq_line: BullmqLine,
) -> None:
    await bullmq_line.add({})
    assert (await bullmq_line.receive_one()).max_attempts == 3


async def test_promise_1_a_job_adopted_by_a_worker_that_died_is_adopted_once(
    bullmq_line: BullmqLine,
) -> None:
    entry = await bullmq_line.add({})
    job = await bullmq_line.receive_one()
    bullmq_line.store.lose_worker()
    await bullmq_line.broker().send([job.lease.job_id])
    again = await bullmq_line.receive_one(worker="w2")
    assert (again.lease.job_id, again.lease.attempt) == (job.lease.job_id, 2)
    await bullmq_line.settle(again, Completed("1"), worker="w2")
    assert (await bullmq_line.shown(entry))[0] == "completed"


async def test_an_added_job_that_nobody_can_run_fails_with_a_readable_reason(
    bullmq_line: BullmqLine,
) -> None:
    entry = await bullmq_line.add({}, kind="what is this?")
    await bullmq_line.assert_nothing_waits()
    state, shown = await bullmq_line.shown(entry)
    assert state == "failed"
    assert shown.failedReason.startswith("no job kind 'what is this?'; known kinds: ")
    [failed] = bullmq_line.store.rows_of(kind="what is this?")
    assert (failed.state, failed.error) == (S.FAILED, shown.failedReason)


async def test_promise_8_an_added_job_with_too_much_data_fails_with_that_reason(
    bullmq_line: BullmqLine,
) -> None:
    entry = await bullmq_line.add({"a": "x" * 2000})
    await bullmq_line.assert_nothing_waits()
    state, shown = await bullmq_line.shown(entry)
    assert state == "failed"
    assert "is 2,008 bytes as JSON, the limit is 1,000" in shown.failedReason


async def test_another_workers_kind_is_offered_again_later(bullmq_line: BullmqLine) -> None:
    job_id = await bullmq_line.submit(kind="other")
    await bullmq_line.assert_nothing_waits()
    state, entry = await bullmq_line.shown(job_id)
    assert (state, entry.delay) == ("delayed", 1000)
    bullmq_line.broker("w2", kinds=("other",))
    assert (await bullmq_line.receive_one(worker="w2")).lease.job_id == job_id


async def test_an_id_that_comes_again_is_another_job(bullmq_line: BullmqLine) -> None:
    first = await bullmq_line.add({"a": 1}, jobId="same", timestamp=1_000)
    job = await bullmq_line.receive_one()
    await bullmq_line.settle(job, Completed("1"))
    bullmq_line.redis("DEL", *bullmq_line.redis("KEYS", bullmq_line.queue().keys[""] + "*"))
    assert await bullmq_line.add({"a": 2}, jobId="same", timestamp=2_000) == first
    again = await bullmq_line.receive_one()
    assert again.lease.job_id != job.lease.job_id
    assert json.loads(again.args) == {"a": 2}


async def test_numbers_that_no_column_holds_stop_no_queue(bullmq_line: BullmqLine) -> None:
    backoff = {"type": "fixed", "delay": 2**53}
    await bullmq_line.add({}, attempts=2**53 - 1, backoff=backoff)
    job = await bullmq_line.receive_one()
    assert job.max_attempts == 2**31 - 1
    assert await bullmq_line.settle(job, Failed("no")) is S.SCHEDULED


async def test_a_parent_that_bullmq_wants_to_fail_does_not_run(bullmq_line: BullmqLine) -> None:
    entry = await bullmq_line.add({})
    key = bullmq_line.queue().keys[""] + entry
    bullmq_line.redis("HSET", key, "defa", "child m1 failed")
    await bullmq_line.assert_nothing_waits()
    state, shown = await bullmq_line.shown(entry)
    assert (state, shown.failedReason) == ("failed", "child m1 failed")


async def test_a_parent_that_may_not_complete_has_failed(bullmq_line: BullmqLine) -> None:
    entry = await bullmq_line.add({})
    job = await bullmq_line.receive_one()
    bullmq_line.redis("ZADD", bullmq_line.queue().keys[""] + f"{entry}:unsuccessful", 1, "child")
    assert await bullmq_line.settle(job, Completed("1")) is S.COMPLETED
    state, shown = await bullmq_line.shown(entry)
    assert state == "failed"
    assert "children" in shown.failedReason


# Waiting.


async def test_a_wait_ends_with_a_job_that_another_program_adds(bullmq_line: BullmqLine) -> None:
    await bullmq_line.add({})
    told = await bullmq_line.broker().wait(
        ["other", "default"], timeout=10 * SECOND, wanted=lambda _: True
    )
    assert list(told) == ["default"]


async def test_a_hint_that_a_full_worker_gets_is_left_to_others(bullmq_line: BullmqLine) -> None:
    await bullmq_line.submit()
    full = bullmq_line.broker("full")
    assert list(await full.wait(["default"], timeout=SECOND, wanted=lambda _: False)) == []
    told = await bullmq_line.broker().wait(["default"], timeout=10 * SECOND, wanted=lambda _: True)
    assert list(told) == ["default"]


async def test_a_wait_ends_when_a_delayed_job_is_due(bullmq_line: BullmqLine) -> None:
    job = await bullmq_line.start()
    settlement = Settlement(job, Failed("busy"), timedelta(milliseconds=200))
    await bullmq_line.broker().settle([settlement])
    assert list(await bullmq_line.broker().receive("default", limit=1, lease_for=MINUTE)) == []
    told = await bullmq_line.broker().wait(["default"], timeout=10 * SECOND, wanted=lambda _: True)
    assert list(told) == ["default"]
    bullmq_line.store.clock.turn(SECOND)
    assert (await bullmq_line.receive_one()).lease.attempt == 2
