"""Every verb against every state: what moves is what the table of transitions says."""

from collections.abc import Callable

import pytest

from milepost.errors import JobNotRetryable, LeaseLost
from milepost.jobs.flows import FOR_OTHERS
from milepost.jobs.leases import JobId, Lease
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
from milepost.jobs.states import TRANSITIONS, JobState
from milepost.store import flows, progress
from milepost.store.tables import jobs
from tests.store.family import add_children, claim_one
from tests.store.store import HOUR, SECOND, Store, claimed_as

S = JobState
Verb = Callable[[Store, Lease], object]


def settling(outcome: Outcome, *, max_attempts: int = 3, most_rescues: int = 3) -> Verb:
    def settle(store: Store, lease: Lease) -> object:
        job = claimed_as(lease, max_attempts=max_attempts)
        return store.settle(job, outcome, most_rescues=most_rescues)

    return settle


def save(store: Store, lease: Lease) -> None:
    try:
        store.save(lease)
    except LeaseLost:
        assert store.state(lease.job_id) is not S.RUNNING


def report(store: Store, lease: Lease) -> None:
    with store.database.begin() as conn:
        progress.report(conn, store.clock, {lease: Progress(1)}, checkpoints={lease: "{}"})


def retry(store: Store, lease: Lease) -> None:
    try:
        store.retry(lease.job_id)
    except JobNotRetryable as error:
        assert error.state not in (S.FAILED, S.CANCELLED)  # noqa: PT017


def claim(store: Store, lease: Lease) -> None:
    store.claim(queue=store.find(lease.job_id).queue)


def wait_for_children(store: Store, lease: Lease) -> None:
    try:
        add_children(store, lease)
    except LeaseLost:
        assert store.state(lease.job_id) is not S.RUNNING
    store.settle(claimed_as(lease), Waiting())


def make_wait(store: Store, job_id: JobId) -> JobId:
    """Let a job, whatever it is, look as one that waits for a new child, or has waited in vain."""
    child = store.submit(queue="child", awaited=True)
    lost = store.state(job_id) in (S.FAILED, S.CANCELLED)
    with store.database.begin() as conn:
        flows.relate(conn, [(job_id, child)])
        flows.adopted(conn, store.clock, job_id, new=1)
        if store.state(job_id) is S.SCHEDULED or lost:
            values = {"run_at": FOR_OTHERS, "children": "kept"}
            conn.execute(jobs.update().where(jobs.c.id == job_id).values(values))
    return child


def last_child(store: Store, lease: Lease, outcome: Outcome) -> None:
    child = make_wait(store, lease.job_id)
    store.settle(claim_one(store, child), outcome)


def retry_child(store: Store, lease: Lease) -> None:
    child = make_wait(store, lease.job_id)
    store.settle(claim_one(store, child), Failed("no", recoverable=False))
    if store.state(lease.job_id) is S.FAILED:
        store.retry(child)


def retry_waiting(store: Store, lease: Lease) -> None:
    make_wait(store, lease.job_id)
    retry(store, lease)


# What each verb moves; from every other state it must move nothing.
MOVES: dict[str, tuple[Verb, dict[JobState, JobState]]] = {
    "promote": (lambda store, _: store.promote(), {S.SCHEDULED: S.AVAILABLE}),
    "claim": (claim, {S.AVAILABLE: S.RUNNING}),
    "renew": (lambda store, lease: store.renew(lease), {}),
    "save": (save, {}),
    "report": (report, {}),
    "complete": (settling(Completed("1")), {S.RUNNING: S.COMPLETED}),
    "fail": (settling(Failed("no")), {S.RUNNING: S.SCHEDULED}),
    "fail, the last attempt": (settling(Failed("no"), max_attempts=1), {S.RUNNING: S.FAILED}),
    "fail for good": (settling(Failed("no", recoverable=False)), {S.RUNNING: S.FAILED}),
    "snooze": (settling(Snoozed(SECOND)), {S.RUNNING: S.SCHEDULED}),
    "settle cancelled": (settling(Cancelled()), {S.RUNNING: S.CANCELLED}),
    "interrupt": (settling(Interrupted()), {S.RUNNING: S.AVAILABLE}),
    "leave for a newer worker": (settling(Misfit("newer")), {S.RUNNING: S.SCHEDULED}),
    "crash": (settling(Crashed("killed")), {S.RUNNING: S.AVAILABLE}),
    "crash, the last time": (settling(Crashed("killed"), most_rescues=1), {S.RUNNING: S.FAILED}),
    "rescue": (lambda store, _: store.rescue(), {S.RUNNING: S.AVAILABLE}),
    "rescue, the last time": (
        lambda store, _: store.rescue(most_rescues=1),
        {S.RUNNING: S.FAILED},
    ),
    "rescue from the dead": (
        lambda store, lease: store.rescue(
            dead_workers=[store.find(lease.job_id).worker_id or "nobody"]
        ),
        {S.RUNNING: S.AVAILABLE},
    ),
    "cancel": (
        lambda store, lease: store.cancel(lease.job_id),
        {S.SCHEDULED: S.CANCELLED, S.AVAILABLE: S.CANCELLED},
    ),
    "wait for children": (wait_for_children, {S.RUNNING: S.SCHEDULED}),
    "end of the last child": (
        lambda store, lease: last_child(store, lease, Completed("1")),
        {S.SCHEDULED: S.AVAILABLE},
    ),
    "failure of a child": (
        lambda store, lease: last_child(store, lease, Failed("no", recoverable=False)),
        {S.SCHEDULED: S.FAILED},
    ),
    "retry of a child": (retry_child, {S.FAILED: S.SCHEDULED}),
    "retry while children go on": (
        retry_waiting,
        {S.FAILED: S.SCHEDULED, S.CANCELLED: S.SCHEDULED},
    ),
    "retry": (retry, {S.FAILED: S.AVAILABLE, S.CANCELLED: S.AVAILABLE}),
}


@pytest.mark.parametrize("before", JobState)
@pytest.mark.parametrize("verb", MOVES)
def test_a_verb_moves_only_what_the_table_says(store: Store, verb: str, before: JobState) -> None:
    job_id = store.job_in(before)
    lease = Lease(job_id, store.find(job_id).attempt)
    store.clock.turn(2 * HOUR)
    act, moves = MOVES[verb]

    act(store, lease)

    after = store.state(job_id)
    assert after is moves.get(before, before)
    assert after is before or after in TRANSITIONS[before]


def test_together_the_verbs_make_every_transition_and_no_other() -> None:
    made = {(before, after) for _, moves in MOVES.values() for before, after in moves.items()}
    # A cancel that was asked for while the job ran, in test_cancelling.py: the same move.
    assert made == {(before, after) for before in TRANSITIONS for after in TRANSITIONS[before]}


@pytest.mark.parametrize("state", [S.COMPLETED, S.FAILED, S.CANCELLED])
def test_promise_4_the_history_shows_what_ended_before_a_retry(
    store: Store, state: JobState
) -> None:
    job_id = store.job_in(state)
    if state is S.COMPLETED:
        with pytest.raises(JobNotRetryable):
            store.retry(job_id)
        assert store.state(job_id) is S.COMPLETED
        return
    store.retry(job_id)
    assert store.state(job_id) is S.AVAILABLE
