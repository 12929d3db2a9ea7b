"""What every broker does. A test class for an adapter inherits these tests and has a fixture
`line`: the store, and brokers on it for as many workers as a test asks for."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from milepost.brokers import Broker
from milepost.jobs.leases import ClaimedJob, JobId, Settlement
from milepost.jobs.outcomes import (
    Cancelled,
    Completed,
    Crashed,
    Failed,
    Interrupted,
    Misfit,
    Outcome,
    Snoozed,
)
from milepost.jobs.states import JobState
from milepost.store import jobs
from tests.store.store import HOUR, KIND, MINUTE, SECOND, Store

S = JobState
PATIENCE = 30.0


@dataclass
class Line:
    """A store and the brokers of its workers."""

    store: Store
    open_broker: Callable[[str, tuple[str, ...]], Broker]
    opened: dict[str, Broker] = field(default_factory=dict)

    def broker(self, worker: str = "w1", *, kinds: tuple[str, ...] = (KIND,)) -> Broker:
        if worker not in self.opened:
            self.opened[worker] = self.open_broker(worker, kinds)
        return self.opened[worker]

    async def submit(self, **options: Any) -> JobId:
        """Store a job and send it, as whoever submits does."""
        job_id = self.store.submit(**options)
        await self.broker().send([job_id])
        return job_id

    async def reprioritise(self, job_id: JobId, priority: int) -> None:
        """Store another priority and send the job, as whoever reprioritises does."""
        with self.store.database.begin() as conn:
            jobs.reprioritise(conn, job_id, priority)
        await self.broker().send([job_id])

    async def receive(
        self,
        count: int,
        *,
        worker: str = "w1",
        queue: str = "default",
        limit: int | None = None,
        lease_for: timedelta = MINUTE,
    ) -> list[ClaimedJob]:
        """Receive so many jobs; what travels may take a moment to arrive."""
        received: list[ClaimedJob] = []
        deadline = time.monotonic() + PATIENCE
        while len(received) < count:
            assert time.monotonic() < deadline, f"only {received} came"
            batch = await self.broker(worker).receive(
                queue, limit=limit or count - len(received), lease_for=lease_for
            )
            received += batch
            await asyncio.sleep(0 if batch else 0.01)
        return received

    async def start(self, **options: Any) -> ClaimedJob:
        job_id = await self.submit(**options)
        [job] = await self.receive(1, queue=options.get("queue", "default"))
        assert job.lease.job_id == job_id
        return job

    async def assert_nothing_waits(self, *, queue: str = "default") -> None:
        """Check that a job that is sent last of all is the next one to come."""
        last = await self.submit(queue=queue, priority=1000)
        [job] = await self.receive(1, queue=queue)
        assert job.lease.job_id == last
        assert await self.settle(job, Completed("null")) is S.COMPLETED

    async def settle(
        self, job: ClaimedJob, outcome: Outcome, *, worker: str = "w1"
    ) -> JobState | None:
        states = await self.broker(worker).settle([Settlement(job, outcome, SECOND)])
        return states.get(job.lease)

    async def aclose(self) -> None:
        for broker in self.opened.values():
            await broker.aclose()


class BrokerContract:
    """The contract."""

    async def test_a_job_that_was_sent_is_received_with_a_lease(self, line: Line) -> None:
        job_id = await line.submit(args='{"a":1}')
        [job] = await line.receive(1)
        assert (job.lease.job_id, job.lease.attempt) == (job_id, 1)
        assert (job.kind, job.queue, job.args) == (KIND, "default", '{"a":1}')
        found = line.store.find(job_id)
        assert (found.state, found.worker_id) == (S.RUNNING, "w1")
        assert found.lease_expires_at == line.store.clock.present + MINUTE
        await line.assert_nothing_waits()

    async def test_the_most_urgent_come_first_and_among_equals_the_oldest(self, line: Line) -> None:
        late, early, second, urgent = [await line.submit(priority=p) for p in (9, 5, 5, 0)]
        received = [(await line.receive(1))[0].lease.job_id for _ in range(4)]
        assert received == [urgent, early, second, late]

    async def test_another_priority_moves_a_job_in_its_line(self, line: Line) -> None:
        later, sooner, last = [await line.submit(priority=p) for p in (5, 5, 0)]
        await line.reprioritise(sooner, 4)
        await line.reprioritise(last, 6)
        received = [(await line.receive(1))[0].lease.job_id for _ in range(3)]
        assert received == [sooner, later, last]

    async def test_promise_8_no_more_come_than_were_asked_for(self, line: Line) -> None:
        for _ in range(5):
            await line.submit()
        batch = await line.broker().receive("default", limit=2, lease_for=MINUTE)
        assert len(batch) <= 2
        rest = await line.receive(5 - len(batch))
        assert len({job.lease for job in [*batch, *rest]}) == 5

    async def test_each_queue_is_a_line_of_its_own(self, line: Line) -> None:
        one = await line.submit(queue="one")
        two = await line.submit(queue="two")
        assert [job.lease.job_id for job in await line.receive(1, queue="two")] == [two]
        assert [job.lease.job_id for job in await line.receive(1, queue="one")] == [one]

    async def test_promise_2_of_many_workers_one_gets_a_job(self, line: Line) -> None:
        wanted = {await line.submit() for _ in range(30)}
        taken: Counter[JobId] = Counter()

        async def work(worker: str) -> None:
            deadline = time.monotonic() + PATIENCE
            while len(taken) < len(wanted):
                assert time.monotonic() < deadline, f"never came: {wanted - set(taken)}"
                for job in await line.broker(worker).receive("default", limit=3, lease_for=MINUTE):
                    taken[job.lease.job_id] += 1
                await asyncio.sleep(0)

        await asyncio.gather(*(work(f"w{number}") for number in range(4)))
        assert taken == dict.fromkeys(wanted, 1)

    async def test_promise_6_a_job_sent_again_runs_once(self, line: Line) -> None:
        job_id = await line.submit()
        await line.broker().send([job_id, job_id])
        await line.broker("w2").send([job_id])
        [job] = await line.receive(1)
        await line.broker().send([job_id])
        await line.assert_nothing_waits()
        assert await line.settle(job, Completed("1")) is S.COMPLETED
        await line.broker().send([job_id])
        await line.assert_nothing_waits()
        assert line.store.find(job_id).attempt == 1

    async def test_promise_6_a_job_that_the_store_does_not_have_is_dropped(
        self, line: Line
    ) -> None:
        await line.broker().send([999_999])
        await line.assert_nothing_waits()

    async def test_sending_and_settling_nothing_is_nothing(self, line: Line) -> None:
        await line.broker().send([])
        assert dict(await line.broker().settle([])) == {}
        assert list(await line.broker().renew([], lease_for=MINUTE)) == []

    async def test_promise_5_a_job_that_was_cancelled_while_it_waited_never_comes(
        self, line: Line
    ) -> None:
        told, forgotten = await line.submit(), await line.submit()
        for job_id in (told, forgotten):
            assert line.store.cancel(job_id) is S.CANCELLED
        await line.broker().send([told])
        await line.assert_nothing_waits()
        assert line.store.find(told).attempt == 0
        assert line.store.find(forgotten).attempt == 0

    async def test_a_renewed_lease_lasts_longer(self, line: Line) -> None:
        job = await line.start()
        line.store.clock.turn(30 * SECOND)
        [held] = await line.broker().renew([job.lease], lease_for=HOUR)
        assert (held.lease, held.cancel_requested) == (job.lease, False)
        line.store.clock.turn(MINUTE)
        assert line.store.rescue() == []

    async def test_promise_5_a_renewal_tells_of_a_cancel(self, line: Line) -> None:
        job = await line.start()
        line.store.cancel(job.lease.job_id, "enough")
        [held] = await line.broker().renew([job.lease], lease_for=MINUTE)
        assert (held.cancel_requested, held.cancel_reason) == (True, "enough")

    async def test_promise_2_a_lost_lease_is_not_renewed_and_settles_nothing(
        self, line: Line
    ) -> None:
        old, other = await line.start(), await line.start(queue="other")
        line.store.clock.turn(HOUR)
        line.store.rescue(spared=[other.lease])
        await line.broker().send([old.lease.job_id])
        [new] = await line.receive(1, worker="w2")
        assert new.lease.attempt == old.lease.attempt + 1

        held = await line.broker().renew([old.lease, other.lease], lease_for=MINUTE)
        assert [each.lease for each in held] == [other.lease]
        states = await line.broker().settle(
            [Settlement(old, Completed("1")), Settlement(other, Completed("1"))]
        )
        assert dict(states) == {other.lease: S.COMPLETED}

        assert line.store.find(old.lease.job_id).attempt == new.lease.attempt
        assert await line.settle(new, Completed("2"), worker="w2") is S.COMPLETED
        assert line.store.find(old.lease.job_id).result == "2"

    @pytest.mark.parametrize(
        ("outcome", "state"),
        [
            (Completed("1"), S.COMPLETED),
            (Failed("no"), S.SCHEDULED),
            (Failed("no", recoverable=False), S.FAILED),
            (Snoozed(MINUTE), S.SCHEDULED),
            (Cancelled(), S.CANCELLED),
            (Interrupted(), S.AVAILABLE),
            (Crashed("killed"), S.AVAILABLE),
            (Misfit("newer"), S.SCHEDULED),
        ],
        ids=str,
    )
    async def test_an_outcome_is_recorded_and_said_again_when_asked_again(
        self, line: Line, outcome: Outcome, state: JobState
    ) -> None:
        job = await line.start()
        assert await line.settle(job, outcome) is state
        assert line.store.state(job.lease.job_id) is state
        assert await line.settle(job, outcome) is state
        assert line.store.state(job.lease.job_id) is state

    @pytest.mark.parametrize("outcome", [Interrupted(), Crashed("killed")], ids=str)
    async def test_an_interrupted_or_crashed_job_comes_again(
        self, line: Line, outcome: Outcome
    ) -> None:
        job = await line.start()
        await line.settle(job, outcome)
        await line.broker().send([job.lease.job_id])
        [again] = await line.receive(1)
        assert (again.lease.job_id, again.lease.attempt) == (job.lease.job_id, 2)

    async def test_promise_1_a_rescued_job_comes_again(self, line: Line) -> None:
        job = await line.start()
        line.store.lose_worker()
        await line.broker("w2").send([job.lease.job_id])
        [again] = await line.receive(1, worker="w2")
        assert (again.lease.job_id, again.lease.attempt) == (job.lease.job_id, 2)

    @pytest.mark.parametrize("outcome", [Failed("no"), Snoozed(MINUTE), Misfit("newer")], ids=str)
    async def test_a_waiting_job_comes_when_its_time_has_come(
        self, line: Line, outcome: Outcome
    ) -> None:
        job = await line.start()
        await line.settle(job, outcome)
        await line.assert_nothing_waits()
        line.store.clock.turn(HOUR)
        line.store.promote()
        await line.broker().send([job.lease.job_id])
        [again] = await line.receive(1)
        assert again.lease.job_id == job.lease.job_id

    async def test_a_retried_job_comes_again(self, line: Line) -> None:
        job = await line.start()
        await line.settle(job, Failed("no", recoverable=False))
        line.store.retry(job.lease.job_id)
        await line.broker().send([job.lease.job_id])
        [again] = await line.receive(1)
        assert (again.lease.job_id, again.lease.attempt) == (job.lease.job_id, 2)

    async def test_a_worker_gets_no_kind_that_it_does_not_know(self, line: Line) -> None:
        job_id = await line.submit(kind="other")
        await line.assert_nothing_waits()
        assert line.store.state(job_id) is S.AVAILABLE

    async def test_a_broker_closes_twice(self, line: Line) -> None:
        await line.submit()
        await line.receive(1)
        await line.broker().aclose()
        await line.broker().aclose()
