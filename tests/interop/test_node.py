"""Node and Python on one queue, both ways, with BullMQ for Node as it comes from npm."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from milepost import (
    Backoff,
    JobContext,
    JobDefinition,
    JobFailed,
    JobState,
    Milepost,
    Progress,
    Settings,
    WorkerSettings,
    job,
)
from milepost.settings import RedisSettings
from milepost.store import reading
from tests.interop.node import NodeProgram

SOON = timedelta(seconds=30)


@dataclass(frozen=True)
class Numbers:
    numbers: list[int]


@dataclass(frozen=True)
class At:
    step: int = 0


@job("adds", backoff=Backoff(first=timedelta(milliseconds=50)))
async def adds(ctx: JobContext[At], args: Numbers) -> int:
    if ctx.attempt == 1 and -1 in args.numbers:
        raise ValueError("there is a -1")
    await ctx.save(At(1), progress=Progress(1, 4, "adding"))
    return sum(args.numbers)


@job("waits-for-cancel")
async def waits_for_cancel(ctx: JobContext[At], args: Numbers) -> None:
    await asyncio.Event().wait()


def elsewhere(kind: str) -> JobDefinition[Numbers, None, int]:
    """What a Node worker runs."""
    return JobDefinition(
        kind, args=Numbers, checkpoint=type(None), result=int, handler=None, queue="node",
        backoff=Backoff(first=timedelta(milliseconds=50)),
    )  # fmt: skip


node_adds = elsewhere("node-adds")
node_throws = JobDefinition(
    "node-throws", args=Numbers, checkpoint=type(None), result=int, handler=None, queue="node",
    max_attempts=1,
)  # fmt: skip
node_recovers = elsewhere("node-recovers")
node_recovers_late = JobDefinition(
    "node-recovers-late", args=Numbers, checkpoint=type(None), result=int, handler=None,
    queue="node", max_attempts=1,
)  # fmt: skip
node_delays_itself = elsewhere("node-delays-itself")


@pytest.fixture
async def node(redis_settings: RedisSettings) -> AsyncIterator[NodeProgram]:
    program = await NodeProgram.start(redis_settings)
    yield program
    await program.stop()


@pytest.fixture
async def milepost(redis_settings: RedisSettings, tmp_path: Path) -> AsyncIterator[Milepost]:
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/store.db", redis=redis_settings,
        worker=WorkerSettings(concurrency=10),
    )  # fmt: skip
    kinds: list[JobDefinition[Any, Any, Any]] = [
        adds,
        waits_for_cancel,
        node_adds,
        node_throws,
        node_recovers,
        node_recovers_late,
        node_delays_itself,
    ]
    async with Milepost(kinds, settings=settings, observers=()) as made:
        yield made


async def until(check: Callable[[], Awaitable[Any]]) -> Any:
    deadline = time.monotonic() + SOON.total_seconds()
    while not (found := await check()):
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.02)
    return found


async def row_of(milepost: Milepost, entry: str) -> reading.JobView:
    async def look() -> reading.JobView | None:
        rows = await milepost.database.query(reading.recent)
        return next((row for row in rows if (row.broker_id or "").endswith(f":{entry}")), None)

    return await until(look)


# Node adds, Milepost runs.


async def test_the_trace_of_a_node_program_is_the_job_s(
    node: NodeProgram, milepost: Milepost
) -> None:
    metadata = json.dumps({"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"})
    async with milepost.worker():
        told = {"telemetry": {"metadata": metadata}}
        entry = await node("add", queue="default", kind="adds", data={"numbers": [1]}, options=told)
        private = await node(
            "add", queue="default", kind="adds", data={"numbers": [1]},
            options={"telemetry": {"metadata": metadata, "omitContext": True}},
        )  # fmt: skip
        assert (await row_of(milepost, entry)).trace == metadata
        assert (await row_of(milepost, private)).trace is None
    # And the other way round.
    [given] = await milepost._store(
        [replace(milepost._request(adds, Numbers([1]), {}), trace=metadata)]
    )
    shown = await node("show", queue="default", job=f"m{given.job_id}")
    assert shown["telemetry"] == metadata


async def test_node_waits_for_what_milepost_returns(node: NodeProgram, milepost: Milepost) -> None:
    await node("listen", queue="default")
    async with milepost.worker():
        entry = await node("add", queue="default", kind="adds", data={"numbers": [1, 2, 39]})
        assert await node("finished", queue="default", job=entry) == {"returned": 42}
    shown = await node("show", queue="default", job=entry)
    assert (shown["state"], shown["returnvalue"], shown["attemptsMade"]) == ("completed", 42, 1)
    assert shown["progress"] == {"progress": 25, "count": 1, "total": 4, "message": "adding"}
    row = await row_of(milepost, entry)
    assert (row.kind, row.state, row.result) == ("adds", JobState.COMPLETED, "42")
    events = [each["event"] for each in await node("seen", job=entry)]
    assert events == ["active", "progress", "completed"]


async def test_node_sees_a_failure_wait_and_recover(node: NodeProgram, milepost: Milepost) -> None:
    await node("listen", queue="default")
    async with milepost.worker():
        entry = await node(
            "add", queue="default", kind="adds", data={"numbers": [-1, 1]}, options={"attempts": 3}
        )
        assert await node("finished", queue="default", job=entry) == {"returned": 0}
    assert (await node("show", queue="default", job=entry))["attemptsMade"] == 2
    events = [each["event"] for each in await node("seen", job=entry)]
    assert events[:2] == ["active", "delayed"]
    assert events[-1] == "completed"


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        ("adds", {"numbers": "many"}, "args of adds does not fit Numbers: numbers: "),
        ("adds", {}, "args of adds does not fit Numbers: numbers: "),
        ("unheard-of", {}, "no job kind 'unheard-of'; known kinds: adds, "),
    ],
)
async def test_node_learns_why_its_job_cannot_run(
    node: NodeProgram, milepost: Milepost, kind: str, data: dict[str, Any], reason: str
) -> None:
    own = replace(milepost.settings.worker, misfits_for=timedelta(0))
    async with milepost.worker(replace(milepost.settings, worker=own)):
        entry = await node("add", queue="default", kind=kind, data=data, options={"attempts": 3})
        answer = await node("finished", queue="default", job=entry)
        row = await row_of(milepost, entry)
    assert reason in answer["threw"]
    assert (row.state, row.failures) == (JobState.FAILED, 1)
    assert reason in (row.error or "")


async def test_node_sees_its_job_wait_for_a_newer_worker_and_why(
    node: NodeProgram, milepost: Milepost
) -> None:
    async with milepost.worker():
        entry = await node("add", queue="default", kind="adds", data={"numbers": "many"})

        async def left() -> dict[str, Any] | None:
            shown = await node("show", queue="default", job=entry)
            return shown if shown.get("failedReason") else None

        shown = await until(left)
    assert (shown["state"], shown["attemptsMade"]) == ("delayed", 0)
    assert "args of adds does not fit Numbers: numbers: " in shown["failedReason"]
    row = await row_of(milepost, entry)
    assert (row.state, row.failures) == (JobState.SCHEDULED, 0)


async def test_node_sees_a_cancel_as_a_failure_of_that_name(
    node: NodeProgram, milepost: Milepost
) -> None:
    async with milepost.worker():
        entry = await node("add", queue="default", kind="waits-for-cancel", data={"numbers": []})
        row = await row_of(milepost, entry)
        answer = await milepost.handle(row.id).cancel("enough")
        assert answer.cancelled
        assert await node("finished", queue="default", job=entry) == {"threw": "cancelled"}


async def test_node_pauses_and_limits_the_queue(node: NodeProgram, milepost: Milepost) -> None:
    await node("pause", queue="default")
    handle = await milepost.submit(adds, Numbers([1]))
    async with milepost.worker():
        assert (await node("show", queue="default", job=f"m{handle.job_id}"))["state"] in (
            "waiting", "paused",
        )  # fmt: skip
        assert (await handle.view()).state is JobState.AVAILABLE
        await node("limit", queue="default", concurrency=1)
        await node("resume", queue="default")
        assert await handle.result(SOON) == 1


# Milepost submits, Node runs.


async def test_what_a_node_worker_returns_is_the_result(
    node: NodeProgram, milepost: Milepost
) -> None:
    await node("work", queue="node")
    async with milepost.worker():
        handle = await milepost.submit(node_adds, Numbers([20, 22]))
        assert await handle.result(SOON) == 42
    view = await handle.view()
    assert (view.attempt, view.worker_id) == (1, "bullmq")
    [attempt] = await handle.attempts()
    assert attempt.outcome == "completed"


async def test_what_a_node_worker_throws_is_the_failure(
    node: NodeProgram, milepost: Milepost
) -> None:
    await node("work", queue="node")
    async with milepost.worker():
        handle = await milepost.submit(node_throws, Numbers([]))
        with pytest.raises(JobFailed, match="the Node worker has thrown"):
            await handle.result(SOON)
    [attempt] = await handle.attempts()
    assert "program.cjs" in (attempt.traceback or "")


async def test_the_store_counts_a_node_workers_attempts(
    node: NodeProgram, milepost: Milepost
) -> None:
    await node("work", queue="node")
    async with milepost.worker():
        handle = await milepost.submit(node_recovers, Numbers([]))
        assert await handle.result(SOON) == 2
    view = await handle.view()
    assert (view.attempt, view.failures) == (2, 1)


async def test_a_retry_of_a_job_that_node_failed_runs_again(
    node: NodeProgram, milepost: Milepost, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node("work", queue="node")
    async with milepost.worker():
        handle = await milepost.submit(node_recovers_late, Numbers([]))
        with pytest.raises(JobFailed, match="once"):
            await handle.result(SOON)
        send = milepost.broker.send

        async def slowly(job_ids: Sequence[int]) -> None:
            await asyncio.sleep(1.5)
            await send(job_ids)

        # Between the commit of the retry and the sending, the old entry says that it failed.
        monkeypatch.setattr(milepost.broker, "send", slowly)
        await handle.retry()
        assert await handle.result(SOON) == 2
    assert (await handle.view()).attempt == 2


async def test_what_ran_while_no_worker_looked_is_settled_later(
    node: NodeProgram, milepost: Milepost
) -> None:
    await node("work", queue="node")
    handle = await milepost.submit(node_adds, Numbers([1, 2]))
    assert await node("finished", queue="node", job=f"m{handle.job_id}") == {"returned": 3}
    assert (await handle.view()).state is JobState.AVAILABLE
    async with milepost.worker():
        assert await handle.result(SOON) == 3


async def test_a_result_that_cannot_be_read_keeps_no_other_waiting(
    node: NodeProgram, milepost: Milepost, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = node_adds.result.parse

    def breaks(text: str) -> str:
        if text == "13":
            raise ValueError("Circular reference detected (depth exceeded)")
        return parse(text)

    monkeypatch.setattr(node_adds.result, "parse", breaks)
    await node("work", queue="node")
    async with milepost.worker():
        bad = await milepost.submit(node_adds, Numbers([13]))
        good = await milepost.submit(node_adds, Numbers([14]))
        assert await good.result(SOON) == 14
        with pytest.raises(JobFailed, match="Circular reference"):
            await bad.result(SOON)


async def test_a_node_job_that_delays_itself_is_not_taken_for_dead(
    node: NodeProgram, milepost: Milepost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("milepost.brokers.bullmq.elsewhere.LEASE_FOR", timedelta(seconds=1))
    await node("work", queue="node")
    async with milepost.worker():
        handle = await milepost.submit(node_delays_itself, Numbers([7000]))
        assert await handle.result(SOON) == 7000
    [attempt] = await handle.attempts()
    assert attempt.outcome == "completed"


async def test_a_worker_that_does_not_know_what_node_runs_may_lead(
    node: NodeProgram, milepost: Milepost
) -> None:
    await node("listen", queue="node")
    unknowing = Milepost([adds], settings=milepost.settings, observers=())
    link = unknowing.link
    assert link is not None
    async with unknowing, unknowing.worker():
        prefix = milepost.settings.redis.prefix
        await until(lambda: asyncio.to_thread(link.call, "EXISTS", f"{prefix}:dispatcher"))
        await node("work", queue="node")
        async with milepost.worker():
            handle = await milepost.submit(node_adds, Numbers([20, 22]))
            assert await handle.result(SOON) == 42
    events = [each["event"] for each in await node("seen", job=f"m{handle.job_id}")]
    assert events.count("active") == 1


async def test_a_job_for_a_node_worker_can_be_cancelled_while_it_waits(
    node: NodeProgram, milepost: Milepost
) -> None:
    handle = await milepost.submit(node_adds, Numbers([1]))
    assert (await handle.cancel()).cancelled
    assert await node("show", queue="node", job=f"m{handle.job_id}") is None
