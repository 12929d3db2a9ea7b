"""A model of the store, and every way to use and misuse it, in any order."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import Column, Integer, MetaData, Table, delete, func, insert, select

from milepost.errors import JobNotRetryable, LeaseLost, UniqueKeyTaken
from milepost.jobs.leases import ClaimedJob, Settlement
from milepost.jobs.outcomes import (
    Cancelled,
    Completed,
    Crashed,
    Failed,
    Interrupted,
    Misfit,
    Outcome,
    Snoozed,
    Waiting,
)
from milepost.jobs.progress import Progress
from milepost.jobs.requests import JobRequest
from milepost.jobs.states import FINAL, TRANSITIONS, JobState
from milepost.store import checkpoints, jobs, progress, tables
from milepost.store.clock import HostClock
from milepost.store.database import Database

S = JobState
LEASE = timedelta(seconds=10)
MOST_RESCUES = 3
data = Table("machine_data", MetaData(), Column("job_id", Integer), Column("step", Integer))

OUTCOMES = st.sampled_from(
    [
        Completed("1"),
        Failed("no"),
        Failed("never", recoverable=False),
        Crashed("killed"),
        Snoozed(timedelta(seconds=5)),
        Cancelled("told"),
        Misfit("newer"),
        Interrupted(),
        # It has no children, so it goes on at once.
        Waiting(),
    ]
)


class Turned(HostClock):
    """A clock that only the machine turns."""

    def __init__(self) -> None:
        self.present = datetime(2030, 1, 1, tzinfo=UTC)

    def read(self) -> datetime:
        return self.present


@dataclass
class Known:
    """What the model knows of one job."""

    state: JobState
    attempt: int = 0
    steps: int = 0
    deaths: int = 0
    cancel_requested: bool = False
    retried: bool = False
    settled: set[int] = field(default_factory=set)


class StoreMachine(RuleBasedStateMachine):
    """Checks promises 1 to 5 after every step. Subclasses name the database."""

    database: Database

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, Known] = {}
        self.claimed: list[ClaimedJob] = []

    @property
    def clock(self) -> Any:
        return self.database.clock

    @initialize()
    def empty(self) -> None:
        with self.database.begin() as conn:
            data.create(conn, checkfirst=True)
            for table in (data, *tables.metadata.sorted_tables):
                if table is not tables.identity:
                    conn.execute(delete(table))

    # What people and workers do.

    # Few jobs: what goes wrong goes wrong between the attempts of one.
    @precondition(lambda self: len(self.known) < 4)
    @rule(key=st.sampled_from([None, None, "a", "b"]), delay=st.sampled_from([None, 3]))
    def submit(self, key: str | None, delay: int | None) -> None:
        wait = None if delay is None else timedelta(seconds=delay)
        request = JobRequest(
            kind="k", args="{}", queue="q", priority=0, max_attempts=3, unique_key=key, delay=wait
        )
        with self.database.begin() as conn:
            [submitted] = jobs.submit(conn, self.clock, [request])
        if submitted.existed:
            assert self.known[submitted.job_id].state not in FINAL
        else:
            assert submitted.job_id not in self.known, "an id was given twice"
            self.known[submitted.job_id] = Known(S.SCHEDULED if wait else S.AVAILABLE)

    @rule(worker=st.sampled_from(["w1", "w2"]), limit=st.integers(1, 3))
    def claim(self, worker: str, limit: int) -> None:
        with self.database.begin() as conn:
            taken = jobs.claim(
                conn, self.clock, queue="q", kinds=["k"], limit=limit, lease_for=LEASE,
                worker_id=worker,
            )  # fmt: skip
        for job in taken:
            known = self.known[job.lease.job_id]
            assert known.state is S.AVAILABLE, f"{job.lease} was claimed while {known.state}"
            assert not known.cancel_requested, "promise 5: a cancelled job started"
            assert job.lease.attempt == known.attempt + 1
            # Promise 3: the attempt begins where the last committed save ended.
            assert job.checkpoint == (str(known.steps) if known.steps else None)
            known.state, known.attempt = S.RUNNING, job.lease.attempt
        self.claimed += taken

    @rule(seconds=st.sampled_from([1, 4, 11]))
    def time_passes(self, seconds: int) -> None:
        self.clock.present += timedelta(seconds=seconds)

    @rule()
    def promote(self) -> None:
        with self.database.begin() as conn:
            jobs.promote(conn, self.clock, limit=10)

    @rule(dead=st.sampled_from([(), ("w1",), ("w2",)]))
    def rescue(self, dead: tuple[str, ...]) -> None:
        with self.database.begin() as conn:
            rescued = jobs.rescue(conn, self.clock, dead_workers=dead, most_rescues=MOST_RESCUES)
        for each in rescued:
            known = self.known[each.lease.job_id]
            assert (known.state, known.attempt) == (S.RUNNING, each.lease.attempt)
            known.deaths += 1
            assert each.state is self.after_a_death(known)

    def after_a_death(self, known: Known) -> JobState:
        """What a job must be whose worker, or process, has just died on it."""
        if known.cancel_requested:
            return S.CANCELLED
        return S.FAILED if known.deaths >= MOST_RESCUES else S.AVAILABLE

    @precondition(lambda self: any(self.holds(job) for job in self.claimed))
    @rule()
    def workers_die_and_another_takes_their_jobs(self) -> None:
        """What makes attempts stale, in one step: left to chance it is rare."""
        self.rescue(("w1", "w2"))
        self.every_promise_holds()
        self.claim("w2", 3)

    # Any message of any attempt, current or stale, once or again.

    @precondition(lambda self: self.claimed)
    @rule(pick=st.randoms(use_true_random=False))
    def save(self, pick: Any) -> None:
        job = self.any_attempt(pick)
        known = self.known[job.lease.job_id]
        step = known.steps + 1
        try:
            with self.database.begin() as conn:
                conn.execute(insert(data).values(job_id=job.lease.job_id, step=step))
                checkpoints.save(conn, job.lease, str(step))
        except LeaseLost:
            assert not self.holds(job), "promise 2: the holder was refused"
        else:
            assert self.holds(job), f"promise 2: {job.lease} saved without a lease"
            known.steps, known.deaths = step, 0

    @precondition(lambda self: any(each.steps for each in self.known.values()))
    @rule(pick=st.randoms(use_true_random=False))
    def save_what_is_saved(self, pick: Any) -> None:
        """Without data: there is nothing new, so it clears nobody of a death."""
        self.save_again(pick.choice([j for j in self.claimed if self.known[j.lease.job_id].steps]))

    def save_again(self, job: ClaimedJob) -> None:
        try:
            with self.database.begin() as conn:
                checkpoints.save(conn, job.lease, str(self.known[job.lease.job_id].steps))
        except LeaseLost:
            assert not self.holds(job), "promise 2: the holder was refused"
        else:
            assert self.holds(job), f"promise 2: {job.lease} saved without a lease"

    def any_attempt(self, pick: Any) -> ClaimedJob:
        """One of all there have been; half the time one that would harm a newer one."""
        overtaken = self.overtaken()
        return pick.choice(overtaken if overtaken and pick.random() < 0.5 else self.claimed)

    def overtaken(self) -> list[ClaimedJob]:
        """The attempts whose job is running in a newer one."""
        return [
            job
            for job in self.claimed
            for known in [self.known[job.lease.job_id]]
            if known.state is S.RUNNING and known.attempt > job.lease.attempt
        ]

    @precondition(lambda self: self.claimed)
    @rule(pick=st.randoms(use_true_random=False), outcome=OUTCOMES)
    def settle(self, pick: Any, outcome: Outcome) -> None:
        self.end(self.any_attempt(pick), outcome)

    @precondition(lambda self: any(self.holds(job) for job in self.claimed))
    @rule(pick=st.randoms(use_true_random=False), times=st.integers(2, 3), saves=st.booleans())
    def its_process_dies_again_and_again(self, pick: Any, times: int, *, saves: bool) -> None:
        """Left to chance, something comes between nearly always."""
        job_id = pick.choice([job for job in self.claimed if self.holds(job)]).lease.job_id
        for _ in range(times):
            for job in [j for j in self.claimed if j.lease.job_id == job_id and self.holds(j)]:
                if saves and self.known[job_id].steps:
                    self.save_again(job)
                self.end(job, Crashed("killed"))
            self.every_promise_holds()
            self.claim("w1", 3)

    def end(self, job: ClaimedJob, outcome: Outcome) -> None:
        known = self.known[job.lease.job_id]
        held = self.holds(job)
        with self.database.begin() as conn:
            states = jobs.settle(
                conn, self.clock,
                [Settlement(job, outcome, timedelta(seconds=2), MOST_RESCUES)],
            )  # fmt: skip
        if held:
            assert job.lease in states, "promise 2: the holder was refused"
            known.settled.add(job.lease.attempt)
            state = states[job.lease]
            if known.cancel_requested:
                assert state in FINAL, "promise 5: a cancelled job goes on"
            assert (state is S.COMPLETED) == isinstance(outcome, Completed)
            if isinstance(outcome, Crashed):
                known.deaths += 1
                assert state is self.after_a_death(known)
            elif not isinstance(outcome, Interrupted | Misfit):
                known.deaths = 0
        elif job.lease in states:
            assert job.lease.attempt in known.settled, "promise 2: a stale settlement counted"

    @precondition(lambda self: self.claimed)
    @rule(pick=st.randoms(use_true_random=False))
    def renew(self, pick: Any) -> None:
        job = self.any_attempt(pick)
        with self.database.begin() as conn:
            held = jobs.renew(conn, self.clock, [job.lease], lease_for=LEASE)
        assert bool(held) == self.holds(job), f"promise 2: {job.lease} and its renewal"
        if held:
            assert held[0].cancel_requested == self.known[job.lease.job_id].cancel_requested

    @precondition(lambda self: self.claimed)
    @rule(pick=st.randoms(use_true_random=False), count=st.integers(0, 9))
    def report(self, pick: Any, count: int) -> None:
        job = self.any_attempt(pick)
        with self.database.begin() as conn:
            held = progress.report(conn, self.clock, {job.lease: Progress(count)}, checkpoints={})
        assert bool(held) == self.holds(job), f"promise 2: {job.lease} and its report"

    @precondition(lambda self: self.known)
    @rule(pick=st.randoms(use_true_random=False))
    def cancel(self, pick: Any) -> None:
        job_id = pick.choice(sorted(self.known))
        known = self.known[job_id]
        with self.database.begin() as conn:
            state = jobs.cancel(conn, self.clock, job_id, "told")
        if known.state in FINAL:
            assert state is known.state, "promise 4: a cancel moved a final job"
        else:
            known.cancel_requested = True
            assert state is (S.RUNNING if known.state is S.RUNNING else S.CANCELLED)

    @precondition(lambda self: self.known)
    @rule(pick=st.randoms(use_true_random=False))
    def retry(self, pick: Any) -> None:
        job_id = pick.choice(sorted(self.known))
        known = self.known[job_id]
        try:
            with self.database.begin() as conn:
                jobs.retry(conn, self.clock, job_id)
        except JobNotRetryable:
            assert known.state not in (S.FAILED, S.CANCELLED)
        except UniqueKeyTaken:
            assert known.state in (S.FAILED, S.CANCELLED)
        else:
            assert known.state in (S.FAILED, S.CANCELLED), "promise 4"
            known.retried, known.cancel_requested, known.deaths = True, False, 0

    def holds(self, job: ClaimedJob) -> bool:
        """Whether the model says that this attempt may write."""
        known = self.known[job.lease.job_id]
        return known.state is S.RUNNING and known.attempt == job.lease.attempt

    # What must be true after every step.

    @invariant()
    def every_promise_holds(self) -> None:
        with self.database.read() as conn:
            found = {row.id: row for row in conn.execute(select(tables.jobs))}
            counted = conn.execute(
                select(data.c.job_id, func.count().label("rows")).group_by(data.c.job_id)
            )
            written = {row.job_id: row.rows for row in counted}
        assert found.keys() == self.known.keys(), "promise 1: a job is gone, or came from nowhere"
        for job_id, known in self.known.items():
            row = found[job_id]
            state = JobState(row.state)
            moved = state is not known.state
            assert not moved or state in TRANSITIONS[known.state], f"{known.state} -> {state}"
            if known.state in FINAL and moved:
                assert known.retried, "promise 4: a final state was left without a retry"
            assert row.attempt == known.attempt, "the fence moved without a claim"
            assert row.rescues == known.deaths
            assert (row.lease_expires_at is not None) == (state is S.RUNNING)
            if known.cancel_requested:
                assert state is S.RUNNING or state in FINAL, "promise 5: a cancel was lost"
            # Promise 3: the data and the checkpoint agree, and nothing is there twice.
            assert int(row.checkpoint or 0) == known.steps == written.get(job_id, 0)
            known.state, known.retried = state, False
