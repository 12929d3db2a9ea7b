from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import Connection

from milepost.brokers import Broker, SqlBroker
from milepost.jobs.leases import Settlement
from milepost.jobs.outcomes import Completed, Failed, Interrupted
from milepost.signals import Listener, Signal, Topic
from tests.brokers.contract import BrokerContract, Line
from tests.store.store import SECOND, Store


class NotedSignals:
    """Notes what is announced."""

    def __init__(self) -> None:
        self.announced: list[Signal] = []

    def announce(self, conn: Connection, signal: Signal) -> None:
        self.announced.append(signal)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        raise NotImplementedError

    def close(self) -> None:
        pass


@pytest.fixture
def signals() -> NotedSignals:
    return NotedSignals()


@pytest.fixture
async def line(store: Store, signals: NotedSignals) -> AsyncIterator[Line]:
    def open_broker(worker: str, kinds: tuple[str, ...]) -> Broker:
        return SqlBroker(store.database, signals, kinds=kinds, worker_id=worker)

    line = Line(store, open_broker)
    yield line
    await line.aclose()


class TestSqlBroker(BrokerContract):
    """The contract, on both databases."""


async def test_whoever_waits_for_a_result_is_told(line: Line, signals: NotedSignals) -> None:
    jobs = [await line.start() for _ in range(2)]
    await line.broker().settle([Settlement(job, Completed("1")) for job in jobs])
    [signal] = signals.announced
    assert signal.topic is Topic.SETTLED
    assert set(signal.job_ids) == {job.lease.job_id for job in jobs}


async def test_workers_are_told_of_jobs_that_are_available_again(
    line: Line, signals: NotedSignals
) -> None:
    job = await line.start(queue="sync")
    await line.settle(job, Interrupted())
    assert signals.announced == [Signal(Topic.AVAILABLE, "sync")]


async def test_a_settlement_that_changes_nothing_is_not_announced(
    line: Line, signals: NotedSignals
) -> None:
    job = await line.start()
    line.store.lose_worker()
    assert await line.settle(job, Completed("1")) is None
    assert signals.announced == []


async def test_a_wait_is_no_news_to_anybody(line: Line, signals: NotedSignals) -> None:
    job = await line.start()
    await line.broker().settle([Settlement(job, Failed("no"), SECOND)])
    assert signals.announced == []
