"""Metrics of real jobs, whose series do not grow with them; and counts of what is rare."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from milepost import JobContext, Milepost, Settings, Unrecoverable, job
from milepost.errors import RedisAway, StoreUnavailable
from milepost.jobs.events import (
    AttemptFinished,
    AttemptLeftBehind,
    AttemptStarted,
    BudgetWaited,
    CancelReachedWorker,
    Event,
    HandlerBlockedLoop,
    JobRescued,
    LeaseWasLost,
    PoolUsedUp,
    RedisWentAway,
    StoreConnectionLost,
    TickFailed,
)
from milepost.jobs.leases import Lease
from milepost.jobs.outcomes import Cancelled, Completed, Failed
from milepost.jobs.states import JobState
from milepost.settings import TelemetrySettings
from milepost.store import overview
from milepost.telemetry.names import OTHER, Names
from tests.telemetry.conftest import value_of
from tests.worker.waiting import eventually

QUEUES = [f"queue-{number}" for number in range(300)]
MOST = 50


@job("counts")
async def counts(ctx: JobContext[None], args: int) -> int:
    return args


@job("fails-once", max_attempts=2)
async def fails_once(ctx: JobContext[None], args: int) -> None:
    if ctx.attempt == 1:
        raise ValueError("once")
    raise Unrecoverable("twice")


@pytest.fixture
async def milepost(tmp_path: Path) -> AsyncIterator[Milepost]:
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/store.db",
        telemetry=TelemetrySettings(metrics_queues=MOST),
    )
    async with Milepost([counts, fails_once], settings=settings, observers=()) as made:
        yield made


def series(text: str) -> set[str]:
    return {line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")}


def labels(text: str, name: str) -> set[str]:
    return set(re.findall(rf'\b{name}="([^"]*)"', text))


async def test_a_thousand_jobs_of_300_queues_make_no_more_series_than_the_cap(
    milepost: Milepost,
) -> None:
    metrics = milepost.metrics
    known = {each.queue for each in milepost.registry}
    for number in range(1000):
        # 300 transactions would say the same.
        if number % 100 == 0:
            requests = [
                replace(
                    milepost._request(counts, each, {}), queue=QUEUES[each % 300],
                    owner=f"owner-{each}", unique_key=f"key-{each}",
                )
                for each in range(number, number + 100)
            ]  # fmt: skip
            await milepost._store(requests)
    waiting = metrics.text().decode()
    assert value_of(waiting, f'milepost_queue_jobs{{queue="{OTHER}",state="available"}}') > 700

    # What a worker that serves all of them would tell.
    for number in range(1000):
        lease, queue = Lease(number, 1), QUEUES[number % 300]
        milepost.observers(
            AttemptStarted(lease, "counts", queue, "coroutine", timedelta(seconds=1), None)
        )
        milepost.observers(
            AttemptFinished(
                lease, "counts", queue, Completed("1"), JobState.COMPLETED, timedelta(seconds=1)
            )
        )
    text = metrics.text().decode()
    queues = labels(text, "queue")
    assert len(queues) == len(known) + MOST + 1
    assert queues > known
    assert OTHER in queues
    assert value_of(text, f'milepost_job_wait_seconds_count{{queue="{OTHER}"}}') > 700
    # For each queue 5 gauges, and a histogram of 12 buckets, its +Inf, sum and count.
    assert len([each for each in series(text) if "queue=" in each]) <= len(queues) * (5 + 15)
    assert not re.search("owner-|key-", text)
    # More of the same adds nothing.
    before = len(series(text))
    await milepost._store([replace(milepost._request(counts, 1, {}), queue="one more")])
    assert len(series(metrics.text().decode())) == before


async def test_what_came_of_jobs_is_counted(milepost: Milepost) -> None:
    metrics = milepost.metrics
    async with milepost.worker():
        handle = await milepost.submit(fails_once, 1)
        await handle.wait(timedelta(seconds=30))
        failed = 'milepost_jobs_finished_total{kind="fails-once",state="failed"}'
        await eventually(lambda: value_of(metrics.text().decode(), failed) == 1)
    text = metrics.text().decode()
    assert value_of(text, 'milepost_jobs_submitted_total{kind="fails-once"}') == 1
    assert value_of(text, 'milepost_retries_total{kind="fails-once"}') == 1
    assert value_of(text, 'milepost_attempts_total{kind="fails-once",outcome="failed"}') == 2
    assert value_of(text, 'milepost_attempt_run_seconds_count{kind="fails-once"}') == 2
    assert value_of(text, 'milepost_worker_running{pool="coroutine"}') == 0
    assert value_of(text, "milepost_worker_slots") == 0


async def test_many_scrapes_cost_one_look(
    milepost: Milepost, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    original = overview.queues

    def counted(conn: Connection) -> list[overview.Queue]:
        looks.append(conn)
        return original(conn)

    monkeypatch.setattr(overview, "queues", counted)
    for _ in range(20):
        text = milepost.metrics.text().decode()
        assert value_of(text, "milepost_store_up") == 1
    assert len(looks) == 1


async def test_a_store_that_is_away_costs_only_what_it_would_tell(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_text("this is no database, whatever its name says" * 100)
    milepost = Milepost(settings=Settings(database_url=f"sqlite:///{tmp_path}/store.db"))
    text = milepost.metrics.text().decode()
    assert value_of(text, "milepost_store_up") == 0
    assert "milepost_worker_slots 0.0" in text
    assert "milepost_queue_jobs{" not in text
    await milepost.aclose()


LEASE = Lease(1, 1)
AGO = datetime.now(UTC) - timedelta(seconds=30)
STARTED = AttemptStarted(LEASE, "counts", "default", "thread", timedelta(seconds=7), None)


def ended(kind: str = "counts") -> AttemptFinished:
    return AttemptFinished(
        LEASE, kind, "default", Cancelled(), JobState.CANCELLED, timedelta(seconds=2)
    )


@pytest.mark.parametrize(
    ("events", "name", "value"),
    [
        ([STARTED], 'milepost_worker_running{pool="thread"}', 1),
        ([STARTED, ended()], 'milepost_worker_running{pool="thread"}', 0),
        ([STARTED], 'milepost_job_wait_seconds_sum{queue="default"}', 7),
        (
            [STARTED, LeaseWasLost(LEASE, "counts", "late")],
            'milepost_worker_running{pool="thread"}',
            0,
        ),
        (
            [LeaseWasLost(LEASE, "counts", "late")],
            'milepost_leases_lost_total{kind="counts"}',
            1,
        ),
        ([ended("of another program")], f'milepost_attempt_run_seconds_sum{{kind="{OTHER}"}}', 2),
        (
            [CancelReachedWorker(LEASE, "counts", AGO), ended()],
            "milepost_cancel_seconds_count",
            1,
        ),
        (
            # A clock that goes ahead makes no negative wait.
            [CancelReachedWorker(LEASE, "counts", AGO + timedelta(days=1)), ended()],
            "milepost_cancel_seconds_sum",
            0,
        ),
        (
            [JobRescued(1, 1, "counts", "default", "w", JobState.FAILED, "gone")],
            'milepost_jobs_finished_total{kind="counts",state="failed"}',
            1,
        ),
        (
            [JobRescued(1, 1, "counts", "default", "w", JobState.AVAILABLE, "gone")],
            'milepost_rescues_total{state="available"}',
            1,
        ),
        (
            [HandlerBlockedLoop(None, None, "a.py:1", timedelta(1))],
            "milepost_loop_blocks_total",
            1,
        ),
        (
            [AttemptLeftBehind(LEASE, "counts", None, None, 1)],
            'milepost_handlers_left_behind_total{kind="counts"}',
            1,
        ),
        ([PoolUsedUp(16)], "milepost_pool_used_up", 1),
        ([TickFailed("renew", OSError())], 'milepost_role_failures_total{role="renew"}', 1),
        ([StoreConnectionLost("gone")], "milepost_store_errors_total", 1),
        # It has told of itself where it was lost.
        ([TickFailed("renew", StoreUnavailable("gone"))], "milepost_store_errors_total", 0),
        ([RedisWentAway("gone")], "milepost_broker_errors_total", 1),
        ([TickFailed("take", RedisAway("gone"))], "milepost_broker_errors_total", 0),
        ([BudgetWaited(timedelta(seconds=3))], "milepost_budget_wait_seconds_sum", 3),
        (
            [AttemptFinished(LEASE, "counts", "q", Failed("no"), JobState.SCHEDULED, timedelta())],
            'milepost_retries_total{kind="counts"}',
            1,
        ),
    ],
)  # fmt: skip
async def test_each_event_counts(
    milepost: Milepost, events: list[Event], name: str, value: float
) -> None:
    metrics = milepost.metrics
    for event in events:
        milepost.observers(event)
    assert value_of(metrics.text().decode(), name) == value


def test_names_that_are_known_have_room_whatever_came_first() -> None:
    names = Names(["sync", "reports"], most=2)
    assert [names.of(name) for name in ("a", "b", "c", "sync", "a")] == [
        "a", "b", OTHER, "sync", "a",
    ]  # fmt: skip
    assert names.known == {"sync", "reports", "a", "b"}
