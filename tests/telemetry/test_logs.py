from datetime import timedelta

import pytest

from milepost.jobs.events import AttemptFinished
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
