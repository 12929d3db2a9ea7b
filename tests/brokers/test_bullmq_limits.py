"""Limits of one worker on BullMQ: what has no room stays for others, and comes when it has."""

import asyncio
import json
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from milepost import (
    JobContext,
    JobDefinition,
    JobHandle,
    JobState,
    Milepost,
    Settings,
    WorkerSettings,
    job,
)
from milepost.jobs.leases import ClaimedJob
from milepost.jobs.outcomes import Completed
from milepost.redis.link import pairs
from milepost.settings import RedisSettings
from tests.brokers.bullmq_line import BullmqLine
from tests.store.store import MINUTE, SECOND
from tests.worker.overlap import Overlap
from tests.worker.waiting import SOON, eventually

# The poll would hide that a queue is not asked again when there is room.
NO_POLL = timedelta(minutes=5)


def application(
    tmp_path: Path, redis: RedisSettings, *definitions: JobDefinition[Any, Any, Any]
) -> Milepost:
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/store.db",
        redis=redis,
        worker=WorkerSettings(concurrency=10, poll_every=NO_POLL),
    )
    return Milepost(definitions, settings=settings, observers=())


async def test_a_kind_runs_as_often_at_once_as_it_says(
    tmp_path: Path, redis_settings: RedisSettings
) -> None:
    overlap = Overlap()

    @job("limited", concurrency=2)
    async def limited(ctx: JobContext[None], args: int) -> int:
        with overlap.inside("limited"):
            await asyncio.sleep(0.05)
        return args

    @job("beside")
    async def beside(ctx: JobContext[None], args: int) -> int:
        return args

    milepost = application(tmp_path, redis_settings, limited, beside)
    async with milepost:
        handles = [
            *await milepost.submit_many(limited, range(20)),
            *await milepost.submit_many(beside, range(20)),
        ]
        async with milepost.worker():
            results = [await handle.result(SOON) for handle in handles]
    assert results == [*range(20), *range(20)]
    assert overlap.most == {"limited": 2}


async def test_what_has_no_room_holds_up_no_other_kind_and_no_other_queue(
    tmp_path: Path, redis_settings: RedisSettings
) -> None:
    released = threading.Event()

    @job("long", concurrency=1)
    async def long(ctx: JobContext[None], args: int) -> int:
        await eventually(released.is_set)
        return args

    @job("beside")
    async def beside(ctx: JobContext[None], args: int) -> int:
        return args

    @job("apart", queue="other")
    async def apart(ctx: JobContext[None], args: int) -> int:
        return args

    milepost = application(tmp_path, redis_settings, long, beside, apart)
    async with milepost:
        held = await milepost.submit_many(long, range(15))
        free = [
            *await milepost.submit_many(beside, range(15)),
            *await milepost.submit_many(apart, range(15)),
        ]
        async with milepost.worker():
            try:
                assert [await handle.result(SOON) for handle in free] == [*range(15), *range(15)]
            finally:
                released.set()
            assert [await handle.result(SOON) for handle in held] == list(range(15))


async def test_a_worker_without_room_leaves_the_hint_to_one_that_has(
    tmp_path: Path, redis_settings: RedisSettings
) -> None:
    released = threading.Event()

    @job("long", concurrency=1)
    async def long(ctx: JobContext[None], args: int) -> str:
        if args == 0:
            await eventually(released.is_set)
        return "done"

    @job("apart", queue="other")
    async def apart(ctx: JobContext[None], args: int) -> int:
        return args

    milepost = application(tmp_path, redis_settings, long, apart)
    async with milepost, milepost.worker():
        holder = await milepost.submit(long, 0)
        await eventually(lambda: is_running(holder))
        async with milepost.worker():
            try:
                for number in range(1, 6):
                    # The worker that has no room has waited for longer: it would be told first.
                    assert await (await milepost.submit(long, number)).result(SOON) == "done"
            finally:
                released.set()


async def is_running(handle: JobHandle[Any]) -> bool:
    return (await handle.view()).state is JobState.RUNNING


async def test_a_hint_for_a_queue_without_room_is_left_to_others(bullmq_line: BullmqLine) -> None:
    await bullmq_line.submit()
    full = bullmq_line.broker("full")
    waiting = asyncio.create_task(
        full.wait(["default", "other"], timeout=10 * SECOND, wanted=lambda queue: queue == "other")
    )
    told = await bullmq_line.broker().wait(["default"], timeout=10 * SECOND, wanted=lambda _: True)
    assert list(told) == ["default"]
    await bullmq_line.submit(queue="other")
    assert list(await waiting) == ["other"]


async def test_a_hint_is_heard_as_soon_as_its_queue_has_room_again(bullmq_line: BullmqLine) -> None:
    has_room = threading.Event()
    waiting = asyncio.create_task(
        bullmq_line.broker().wait(
            ["default"], timeout=10 * SECOND, wanted=lambda _: has_room.is_set()
        )
    )
    await bullmq_line.submit()
    has_room.set()
    assert list(await waiting) == ["default"]


# What a worker takes that has no room for some kinds.

KINDS = ("work", "other")


async def pick(line: BullmqLine, *, limit: int = 10) -> list[ClaimedJob]:
    """Ask for what is not of the kind `other`."""
    broker = line.broker("full", kinds=KINDS)
    picked = await broker.receive("default", limit=limit, lease_for=MINUTE, without=["other"])
    return list(picked)


def ids_of(jobs: Sequence[ClaimedJob]) -> list[int]:
    return [job.lease.job_id for job in jobs]


async def test_what_has_no_room_stays_in_its_place_and_what_has_is_taken_from_behind_it(
    bullmq_line: BullmqLine,
) -> None:
    others = [await bullmq_line.submit(kind="other") for _ in range(60)]
    plain = await bullmq_line.submit()
    urgent = [await bullmq_line.submit(priority=priority) for priority in (7, 3)]
    assert ids_of(await pick(bullmq_line, limit=2)) == [plain, urgent[1]]
    assert ids_of(await pick(bullmq_line)) == [urgent[0]]
    assert ids_of(await pick(bullmq_line)) == []
    free = bullmq_line.broker("free", kinds=KINDS)
    assert ids_of(await free.receive("default", limit=100, lease_for=MINUTE)) == others


@pytest.mark.parametrize("options", [{}, {"priority": 3}], ids=str)
async def test_what_is_picked_is_active_and_locked_and_ends_as_any_other(
    bullmq_line: BullmqLine, options: dict[str, int]
) -> None:
    await bullmq_line.submit(kind="other")
    job_id = await bullmq_line.submit(**options)
    [picked] = await pick(bullmq_line)
    state, entry = await bullmq_line.shown(job_id)
    assert (state, entry.processedOn is not None) == ("active", True)
    counts = await bullmq_line.queue().getJobCounts()
    assert (counts["waiting"], counts["prioritized"], counts["active"]) == (1, 0, 1)
    key = bullmq_line.queue().keys[""]
    assert bullmq_line.redis("GET", f"{key}m{job_id}:lock") == "full"
    assert bullmq_line.redis("HGET", f"{key}m{job_id}", "ats") == "1"
    [(_, event)] = bullmq_line.redis("XREVRANGE", f"{key}events", "+", "-", "COUNT", 1)
    assert pairs(event) == {"event": "active", "jobId": f"m{job_id}", "prev": "waiting"}
    await bullmq_line.settle(picked, Completed("7"), worker="full")
    state, entry = await bullmq_line.shown(job_id)
    assert (state, entry.returnvalue) == ("completed", 7)


async def test_what_another_program_added_is_picked_too(bullmq_line: BullmqLine) -> None:
    others = [await bullmq_line.add({}, kind="other") for _ in range(3)]
    entries = [await bullmq_line.add({"a": 1}), await bullmq_line.add({"a": 2}, priority=2)]
    jobs = await pick(bullmq_line)
    assert [json.loads(job.args) for job in jobs] == [{"a": 1}, {"a": 2}]
    for picked, entry in zip(jobs, entries, strict=True):
        assert (await bullmq_line.shown(entry))[0] == "active"
        await bullmq_line.settle(picked, Completed("1"), worker="full")
        assert (await bullmq_line.shown(entry))[0] == "completed"
    assert [(await bullmq_line.shown(entry))[0] for entry in others] == ["waiting"] * 3


async def test_what_another_program_put_off_is_picked_when_it_is_due(
    bullmq_line: BullmqLine,
) -> None:
    entries = [
        await bullmq_line.add({"a": 1}, delay=40, priority=2),
        await bullmq_line.add({"a": 2}, delay=50),
    ]
    other = await bullmq_line.add({}, kind="other", delay=40)
    full = bullmq_line.broker("full", kinds=KINDS)
    jobs: list[ClaimedJob] = []
    while len(jobs) < 2:
        jobs += await pick(bullmq_line)
        # Its own wait ends when the next one is due.
        await full.wait(["default"], timeout=10 * SECOND, wanted=lambda _: True)
    assert sorted(json.loads(job.args)["a"] for job in jobs) == [1, 2]
    assert [(await bullmq_line.shown(entry))[0] for entry in entries] == ["active"] * 2
    assert (await bullmq_line.shown(other))[0] == "waiting"


async def test_what_another_program_added_behind_many_others_is_found(
    bullmq_line: BullmqLine,
) -> None:
    for _ in range(200):
        await bullmq_line.add({}, kind="other")
    await bullmq_line.add({"a": 1})
    assert [json.loads(job.args) for job in await pick(bullmq_line)] == [{"a": 1}]


@pytest.mark.parametrize(
    ("added", "reason"),
    [
        ({"data": {"a": "x" * 2000}}, "args of work"),
        ({"data": {}, "kind": "nobodys"}, "nobodys"),
    ],
    ids=["too large", "of no kind"],
)
async def test_what_cannot_run_fails_also_where_other_kinds_have_no_room(
    bullmq_line: BullmqLine, added: dict[str, Any], reason: str
) -> None:
    entry = await bullmq_line.add(**added)
    assert await pick(bullmq_line) == []
    state, shown = await bullmq_line.shown(entry)
    assert (state, reason in shown.failedReason) == ("failed", True)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_parent_whose_child_has_failed_fails_and_does_not_run(
    bullmq_line: BullmqLine, kind: str
) -> None:
    parent = await bullmq_line.add({"a": 1}, kind=kind)
    key = bullmq_line.queue().keys[""]
    bullmq_line.redis("HSET", f"{key}{parent}", "defa", "child x failed")
    assert await pick(bullmq_line) == []
    state, shown = await bullmq_line.shown(parent)
    assert (state, shown.failedReason) == ("failed", "child x failed")
    [row] = bullmq_line.store.rows_of(kind=kind)
    assert (row.state, row.error) == (JobState.FAILED, "child x failed")


async def test_nothing_is_picked_from_a_paused_queue(bullmq_line: BullmqLine) -> None:
    await bullmq_line.queue().pause()
    job_id = await bullmq_line.submit()
    assert await pick(bullmq_line) == []
    await bullmq_line.queue().resume()
    assert ids_of(await pick(bullmq_line)) == [job_id]


@pytest.mark.parametrize(
    "limit", [("concurrency", 2), ("max", 2, "duration", 60_000)], ids=["concurrency", "rate"]
)
async def test_a_limit_of_the_queue_holds_in_workers_without_room_too(
    bullmq_line: BullmqLine, limit: tuple[Any, ...]
) -> None:
    bullmq_line.redis("HSET", bullmq_line.queue().keys["meta"], *limit)
    for _ in range(3):
        await bullmq_line.submit()
    assert len(await pick(bullmq_line)) == 2
    assert await pick(bullmq_line) == []


async def test_a_worker_without_any_room_spends_nothing_of_a_queues_rate(
    bullmq_line: BullmqLine,
) -> None:
    bullmq_line.redis("HSET", bullmq_line.queue().keys["meta"], "max", 1, "duration", 60_000)
    job_id = await bullmq_line.submit()
    full = bullmq_line.broker("full", kinds=KINDS)
    assert await full.receive("default", limit=1, lease_for=MINUTE, without=KINDS) == []
    free = bullmq_line.broker("free", kinds=KINDS)
    assert ids_of(await free.receive("default", limit=1, lease_for=MINUTE)) == [job_id]


async def test_who_finds_nothing_to_pick_hands_the_hint_on(bullmq_line: BullmqLine) -> None:
    full = bullmq_line.broker("full", kinds=KINDS)
    job_id = await bullmq_line.submit(kind="other")
    assert list(await full.wait(["default"], timeout=10 * SECOND, wanted=lambda _: True)) == [
        "default"
    ]
    # It has waited for longer by then, so that BullMQ would tell it first.
    again = asyncio.create_task(
        full.wait(["default"], timeout=timedelta(seconds=0.2), wanted=lambda _: True)
    )
    await asyncio.sleep(0.05)
    assert await pick(bullmq_line) == []
    free = bullmq_line.broker("free", kinds=KINDS)
    told = await free.wait(["default"], timeout=10 * SECOND, wanted=lambda _: True)
    assert list(told) == ["default"]
    assert list(await again) == []
    assert ids_of(await free.receive("default", limit=1, lease_for=MINUTE)) == [job_id]
