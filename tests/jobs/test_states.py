import pytest

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
    next_state,
)
from milepost.jobs.states import FINAL, TRANSITIONS, UNFINISHED, JobState
from tests.store.store import SECOND

S = JobState


def test_every_state_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(JobState)


def test_every_state_is_final_or_unfinished() -> None:
    assert set(JobState) == FINAL | UNFINISHED
    assert not FINAL & UNFINISHED


def test_promise_4_a_final_state_is_left_by_a_retry_only_and_completed_never() -> None:
    assert TRANSITIONS[S.COMPLETED] == frozenset()
    assert TRANSITIONS[S.FAILED] == TRANSITIONS[S.CANCELLED] == {S.AVAILABLE, S.SCHEDULED}


def test_only_available_jobs_begin_to_run() -> None:
    assert [state for state in TRANSITIONS if S.RUNNING in TRANSITIONS[state]] == [S.AVAILABLE]


def test_every_unfinished_state_can_end_as_cancelled() -> None:
    assert all(S.CANCELLED in TRANSITIONS[state] for state in UNFINISHED)


def test_promise_1_a_final_state_can_be_reached_from_every_state() -> None:
    reaches = set(FINAL)
    for _ in JobState:
        reaches |= {state for state in TRANSITIONS if TRANSITIONS[state] & reaches}
    assert reaches == set(JobState)


@pytest.mark.parametrize("attempts_left", [True, False])
@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Completed("1"), S.COMPLETED),
        (Cancelled("no longer needed"), S.CANCELLED),
        (Snoozed(SECOND), S.SCHEDULED),
        (Crashed("killed"), S.AVAILABLE),
        (Misfit("newer"), S.SCHEDULED),
        (Waiting(), S.SCHEDULED),
        (Interrupted(), S.AVAILABLE),
        (Failed("no", recoverable=False), S.FAILED),
    ],
)
def test_an_outcome_decides_the_state_whatever_budget_is_left(
    outcome: Outcome, state: JobState, attempts_left: bool
) -> None:
    assert next_state(outcome, attempts_left=attempts_left) is state


def test_a_failure_with_budget_left_runs_again() -> None:
    assert next_state(Failed("no"), attempts_left=True) is S.SCHEDULED
    assert next_state(Failed("no"), attempts_left=False) is S.FAILED


def test_no_outcome_is_without_a_state_and_every_state_can_follow_a_running_one() -> None:
    outcomes: list[Outcome] = [
        Completed("1"),
        Cancelled(),
        Snoozed(SECOND),
        Waiting(),
        Interrupted(),
        Crashed("killed"),
        Misfit("newer"),
        Failed("no"),
    ]
    assert {type(outcome) for outcome in outcomes} == set(Outcome.__args__)
    reached = {next_state(o, attempts_left=left) for o in outcomes for left in (True, False)}
    assert reached == TRANSITIONS[S.RUNNING]
