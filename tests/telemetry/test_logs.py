from datetime import timedelta

import pytest

from milepost.jobs.events import AttemptFinished, AttemptLeftBehind, PoolUsedUp
from milepost.jobs.leases import Lease
from milepost.jobs.outcomes import Crashed, Failed, Interrupted, Misfit, Outcome, Snoozed
from milepost.jobs.states import JobState
from milepost.telemetry.logs import log_event

LATER = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("outcome", "state", "said"),
    [
        (Failed("no"), JobState.SCHEDULED, "failed after 2.0 s: no; now scheduled"),
        (
            Snoozed(LATER, "closed"),
            JobState.SCHEDULED,
            "snoozed after 2.0 s: closed; now scheduled",
        ),
        (Snoozed(LATER), JobState.SCHEDULED, "snoozed after 2.0 s; now scheduled"),
        (Crashed("SIGKILL"), JobState.FAILED, "crashed after 2.0 s: SIGKILL; now failed"),
        (
            Misfit("args of k does not fit Old"),
            JobState.SCHEDULED,
            "left for a newer worker: args of k does not fit Old; now scheduled",
        ),
        (Interrupted(), JobState.AVAILABLE, "interrupted after 2.0 s; now available"),
    ],
)
def test_a_line_says_how_an_attempt_ended_and_why(
    caplog: pytest.LogCaptureFixture, outcome: Outcome, state: JobState, said: str
) -> None:
    caplog.set_level("INFO", logger="milepost")
    log_event(AttemptFinished(Lease(7, 1), "k", "q", outcome, state, timedelta(seconds=2)))
    assert caplog.messages == [f"attempt 1 of job 7 (k) {said}"]


@pytest.mark.parametrize("outcome", [Failed("no"), Crashed("SIGKILL"), Misfit("newer")], ids=str)
def test_what_went_wrong_is_a_warning(caplog: pytest.LogCaptureFixture, outcome: Outcome) -> None:
    log_event(
        AttemptFinished(Lease(7, 1), "k", "q", outcome, JobState.SCHEDULED, timedelta(seconds=2))
    )
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_what_is_left_behind_is_logged_with_its_stack_and_how_many_there_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stack = '  File "shop.py", line 7, in sync\n    wait()\n'
    log_event(AttemptLeftBehind(Lease(7, 1), "k", "shop.py:7 in sync", stack, 3))
    [message] = caplog.messages
    assert message == (
        "attempt 1 of job 7 (k) did not stop when told, and was left behind at shop.py:7 in sync; "
        "it can write nothing more; of such handlers 3 still run here; it stands at\n"
        '  File "shop.py", line 7, in sync\n    wait()'
    )


def test_a_worker_whose_threads_are_used_up_asks_for_its_restart(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log_event(PoolUsedUp(16))
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage() == (
        "this worker begins no more `def` handlers in threads: 16 handlers that were told to stop "
        "still run here; restart it"
    )
