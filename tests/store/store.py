"""A store under test: its verbs, each in a transaction of its own, and a clock to turn."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy import Connection

from milepost.jobs.leases import ClaimedJob, HeldLease, JobId, Lease, Settlement
from milepost.jobs.outcomes import Cancelled, Completed, Failed, Outcome
from milepost.jobs.requests import JobRequest
from milepost.jobs.retention import Keep, Retention
from milepost.jobs.states import JobState
from milepost.store import checkpoints, jobs, pruning, reading, retention
from milepost.store.clock import HostClock
from milepost.store.database import Database
from milepost.store.filters import JobFilter

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
KIND = "work"
WORKER = "worker-1"


class TurnedClock(HostClock):
    """Stands still until a test turns it."""

    def __init__(self) -> None:
        self.present = datetime(2024, 5, 17, 12, 0, 0, 123000, tzinfo=UTC)

    def read(self) -> datetime:
        return self.present

    def turn(self, by: timedelta) -> None:
        self.present += by


def job_request(**options: Any) -> JobRequest:
    defaults = {"kind": KIND, "args": "{}", "queue": "default", "priority": 0, "max_attempts": 3}
    return JobRequest(**{**defaults, **options})


class Store:
    """One store. `database` and `clock` are there for what has no verb here."""

    def __init__(self, database: Database, clock: TurnedClock) -> None:
        self.database = database
        self.clock = clock
        self._numbers = count(1)

    def submit(self, **options: Any) -> JobId:
        [submitted] = self.submit_many(job_request(**options))
        return submitted.job_id

    def submit_many(self, *requests: JobRequest) -> list[jobs.Submitted]:
        with self.database.begin() as conn:
            return jobs.submit(conn, self.clock, requests)

    def claim(
        self,
        *,
        limit: int = 100,
        queue: str = "default",
        kinds: tuple[str, ...] = (KIND,),
        worker: str = WORKER,
        lease_for: timedelta = MINUTE,
    ) -> list[ClaimedJob]:
        with self.database.begin() as conn:
            return jobs.claim(
                conn,
                self.clock,
                queue=queue,
                kinds=kinds,
                limit=limit,
                lease_for=lease_for,
                worker_id=worker,
            )

    def start(self, *, worker: str = WORKER, **options: Any) -> ClaimedJob:
        """Submit a job to a queue of its own and claim it."""
        queue = options.setdefault("queue", f"queue-{next(self._numbers)}")
        self.submit(**options)
        [claimed] = self.claim(queue=queue, worker=worker)
        return claimed

    def start_again(self, job: ClaimedJob, *, worker: str = "worker-2") -> ClaimedJob:
        """Claim a job that has a queue of its own once more."""
        [claimed] = self.claim(queue=job.queue, worker=worker)
        assert claimed.lease.job_id == job.lease.job_id
        return claimed

    def job_in(self, state: JobState, **options: Any) -> JobId:
        """Bring a new job into a state."""
        match state:
            case JobState.SCHEDULED:
                return self.submit(delay=HOUR, **options)
            case JobState.AVAILABLE:
                return self.submit(**options)
            case JobState.RUNNING:
                return self.start(**options).lease.job_id
            case JobState.COMPLETED:
                outcome: Outcome = Completed("null")
            case JobState.FAILED:
                outcome = Failed("it broke", recoverable=False)
            case JobState.CANCELLED:
                outcome = Cancelled()
        job = self.start(**options)
        assert self.settle(job, outcome) is state
        return job.lease.job_id

    def save(self, lease: Lease, checkpoint: str = "{}") -> HeldLease:
        with self.database.begin() as conn:
            return checkpoints.save(conn, lease, checkpoint)

    def renew(self, *leases: Lease, lease_for: timedelta = MINUTE) -> list[HeldLease]:
        with self.database.begin() as conn:
            return jobs.renew(conn, self.clock, leases, lease_for=lease_for)

    def settle(
        self,
        job: ClaimedJob,
        outcome: Outcome,
        *,
        retry_after: timedelta = SECOND,
        most_rescues: int = 3,
    ) -> JobState | None:
        """Settle one attempt; None where its lease was lost."""
        settlement = Settlement(job, outcome, retry_after, most_rescues)
        return self.settle_many(settlement).get(job.lease)

    def settle_many(self, *settlements: Settlement) -> dict[Lease, JobState]:
        with self.database.begin() as conn:
            return jobs.settle(conn, self.clock, settlements)

    def promote(self, *, limit: int = 100) -> list[str]:
        """Promote what is due; returns the queues."""
        with self.database.begin() as conn:
            return [each.queue for each in jobs.promote(conn, self.clock, limit=limit)]

    def rescue(self, **options: Any) -> list[jobs.Rescued]:
        with self.database.begin() as conn:
            return jobs.rescue(conn, self.clock, **options)

    def lose_worker(self) -> list[jobs.Rescued]:
        """Let every lease expire and rescue."""
        self.clock.turn(HOUR)
        return self.rescue()

    def prune(self, keep: Mapping[JobState, Keep], *, limit: int = 500) -> int:
        """Prune all that there is to prune; returns how many."""
        deleted = 0
        with self.database.read() as conn:
            found = pruning.look(conn, self.clock, keep)
        for past in found:
            after = None
            while True:
                with self.database.begin() as conn:
                    pruned = pruning.prune(conn, self.clock, past, after=after, limit=limit)
                deleted += pruned.deleted
                if (after := pruned.last) is None:
                    break
        return deleted

    def declare(self, rules: Mapping[str, Retention | None]) -> None:
        """Declare as a worker does each time it prunes."""
        with self.database.begin() as conn:
            if retention.differ(conn, rules):
                retention.declare(conn, self.clock, rules)

    def cancel(self, job_id: JobId, reason: str | None = None) -> JobState:
        with self.database.begin() as conn:
            return jobs.cancel(conn, self.clock, job_id, reason)

    def retry(self, job_id: JobId) -> str:
        with self.database.begin() as conn:
            return jobs.retry(conn, self.clock, job_id)

    def find(self, job_id: JobId) -> reading.JobView:
        with self.database.read() as conn:
            return reading.find(conn, job_id)

    def rows_of(self, **filters: Any) -> list[reading.JobView]:
        with self.database.read() as conn:
            return reading.recent(conn, JobFilter(**filters))

    def state(self, job_id: JobId) -> JobState:
        return self.find(job_id).state

    def rows(self, statement: Any) -> list[Any]:
        """Read whatever a test wants to see."""
        with self.database.read() as conn:
            return list(conn.execute(statement).all())


def claimed_as(lease: Lease, *, failures: int = 0, max_attempts: int = 3) -> ClaimedJob:
    """What a worker might believe to hold."""
    return ClaimedJob(
        lease=lease, kind=KIND, queue="default", args="{}", checkpoint=None, failures=failures,
        max_attempts=max_attempts, backoff=None, time_limit=None,
        started_at=datetime(2024, 5, 17, tzinfo=UTC),
    )  # fmt: skip


def write_row(conn: Connection, job_id: JobId, number: int) -> None:
    """What a handler might write beside its checkpoint."""
    conn.exec_driver_sql(f"INSERT INTO written (job_id, number) VALUES ({job_id}, {number})")


def make_data_table(database: Database) -> None:
    with database.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE IF NOT EXISTS written (job_id BIGINT, number INTEGER)")


def written(database: Database, job_id: JobId) -> list[int]:
    with database.read() as conn:
        found = conn.exec_driver_sql(
            f"SELECT number FROM written WHERE job_id = {job_id} ORDER BY number"
        ).scalars()
        return list(found)
