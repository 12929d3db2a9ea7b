from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from milepost.jobs.leases import Settlement
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
from milepost.jobs.states import JobState
from milepost.store import attempts
from tests.store.store import HOUR, MINUTE, SECOND, Store

S = JobState
EVERY_OUTCOME: list[Outcome] = [
    Completed('{"n":1}'),
    Failed("no", "Traceback …"),
    Failed("no", recoverable=False),
    Snoozed(MINUTE),
    Cancelled(),
    Interrupted(),
    Crashed("killed", "its last words"),
    Misfit("newer"),
    Waiting(),
]


def history(store: Store, job_id: int) -> list[attempts.AttemptRecord]:
    with store.database.read() as conn:
        return attempts.of_job(conn, job_id)


def test_a_completed_job_keeps_its_result(store: Store) -> None:
    job = store.start()
    store.clock.turn(MINUTE)
    assert store.settle(job, Completed('{"n":"ü\\u0000"}')) is S.COMPLETED

    found = store.find(job.lease.job_id)
    assert found.result == '{"n":"ü\\u0000"}'
    assert found.finished_at == store.clock.present
    assert found.lease_expires_at is None
    assert found.failures == 0


def test_a_failure_with_budget_left_waits_as_long_as_it_was_told(store: Store) -> None:
    job = store.start(max_attempts=2)
    assert store.settle(job, Failed("no"), retry_after=MINUTE) is S.SCHEDULED

    found = store.find(job.lease.job_id)
    assert (found.failures, found.error, found.finished_at) == (1, "no", None)
    assert found.run_at == store.clock.present + MINUTE


def test_the_last_failure_ends_the_job(store: Store) -> None:
    job = store.start(max_attempts=2)
    store.settle(job, Failed("first"))
    store.clock.turn(HOUR)
    store.promote()
    assert store.settle(store.start_again(job), Failed("second")) is S.FAILED
    found = store.find(job.lease.job_id)
    assert (found.failures, found.error) == (2, "second")
    assert found.finished_at == store.clock.present


@pytest.mark.parametrize("outcome", [Snoozed(MINUTE, "not yet"), Interrupted()], ids=str)
def test_what_is_not_the_jobs_fault_costs_no_failure(store: Store, outcome: Outcome) -> None:
    job = store.start(max_attempts=1)
    store.settle(job, outcome)
    found = store.find(job.lease.job_id)
    assert (found.failures, found.error, found.finished_at) == (0, None, None)


def test_a_snoozed_job_comes_back_after_its_time(store: Store) -> None:
    job = store.start()
    store.settle(job, Snoozed(MINUTE))
    assert store.find(job.lease.job_id).run_at == store.clock.present + MINUTE


def test_the_history_says_why_a_job_was_snoozed(store: Store) -> None:
    job = store.start()
    store.settle(job, Snoozed(MINUTE, "the shop is closed\x00"))
    [attempt] = history(store, job.lease.job_id)
    assert (attempt.outcome, attempt.error) == ("snoozed", "the shop is closed\\x00")


def test_an_interrupted_job_is_available_at_once_and_keeps_its_checkpoint(store: Store) -> None:
    job = store.start()
    store.save(job.lease, "7")
    assert store.settle(job, Interrupted()) is S.AVAILABLE
    assert store.start_again(job).checkpoint == "7"


def test_a_crash_costs_no_failure_and_the_job_goes_on_at_once_from_its_checkpoint(
    store: Store,
) -> None:
    job = store.start(max_attempts=1)
    store.save(job.lease, "7")
    assert store.settle(job, Crashed("killed\x00", "its last words\x00")) is S.AVAILABLE

    found = store.find(job.lease.job_id)
    assert (found.failures, found.rescues, found.error) == (0, 1, "killed\\x00")
    assert (found.finished_at, found.lease_expires_at) == (None, None)
    [attempt] = history(store, job.lease.job_id)
    assert (attempt.outcome, attempt.state) == ("crashed", S.AVAILABLE)
    assert (attempt.error, attempt.traceback) == ("killed\\x00", "its last words\\x00")
    assert store.start_again(job).checkpoint == "7"


def test_a_misfit_costs_no_failure_and_waits_as_long_as_it_was_told(store: Store) -> None:
    job = store.start(max_attempts=1)
    assert store.settle(job, Misfit("newer\x00"), retry_after=MINUTE) is S.SCHEDULED
    found = store.find(job.lease.job_id)
    assert (found.failures, found.rescues, found.error) == (0, 0, "newer\\x00")
    assert found.run_at == store.clock.present + MINUTE
    [attempt] = history(store, job.lease.job_id)
    assert (attempt.outcome, attempt.error) == ("misfit", "newer\\x00")


def test_a_snooze_leaves_the_error_of_the_attempt_before_it(store: Store) -> None:
    job = store.start()
    store.settle(job, Crashed("killed"))
    store.settle(store.start_again(job), Snoozed(MINUTE, "not yet"))
    assert store.find(job.lease.job_id).error == "killed"


def test_the_third_crash_in_a_row_ends_the_job(store: Store) -> None:
    job = current = store.start(max_attempts=1)
    for signal in (11, 6):
        assert store.settle(current, Crashed(f"signal {signal}")) is S.AVAILABLE
        current = store.start_again(job)
    assert store.settle(current, Crashed("signal 9")) is S.FAILED

    found = store.find(job.lease.job_id)
    assert found.error == (
        "its process died 3 times in a row, nothing new saved between; the last time: signal 9"
    )
    assert (found.failures, found.finished_at) == (0, store.clock.present)
    errors = [attempt.error for attempt in history(store, job.lease.job_id)]
    assert errors == ["signal 11", "signal 6", "signal 9"]


def test_the_setting_of_the_worker_that_settles_says_which_crash_is_the_last(
    store: Store,
) -> None:
    job = store.start()
    assert store.settle(job, Crashed("killed"), most_rescues=2) is S.AVAILABLE
    assert store.settle(store.start_again(job), Crashed("killed"), most_rescues=2) is S.FAILED
    assert "died 2 times in a row" in str(store.find(job.lease.job_id).error)


def test_a_save_between_crashes_begins_the_count_anew_if_it_saves_something_new(
    store: Store,
) -> None:
    job = current = store.start()
    for step in range(5):
        store.save(current.lease, str(step))
        assert store.settle(current, Crashed("killed")) is S.AVAILABLE
        current = store.start_again(job)
    store.save(current.lease, "4")
    assert store.settle(current, Crashed("killed")) is S.AVAILABLE
    current = store.start_again(job)
    store.save(current.lease, "4")
    assert store.settle(current, Crashed("killed")) is S.FAILED


def test_deaths_of_the_worker_and_of_the_process_count_together(store: Store) -> None:
    job = store.start()
    store.settle(job, Crashed("killed"))
    store.start_again(job)
    store.lose_worker()
    assert store.settle(store.start_again(job), Crashed("killed")) is S.FAILED


@pytest.mark.parametrize(
    ("outcome", "deaths"),
    [(Snoozed(SECOND), 0), (Failed("no"), 0), (Interrupted(), 1), (Misfit("newer"), 1)],
    ids=str,
)
def test_an_attempt_that_ended_by_itself_stands_between_crashes_and_one_given_back_does_not(
    store: Store, outcome: Outcome, deaths: int
) -> None:
    job = store.start(max_attempts=100)
    store.settle(job, Crashed("killed"))
    store.settle(store.start_again(job), outcome)
    assert store.find(job.lease.job_id).rescues == deaths


def test_after_a_later_success_only_the_history_shows_the_error(store: Store) -> None:
    job = store.start()
    store.settle(job, Failed("the first time"))
    store.clock.turn(HOUR)
    store.promote()
    store.settle(store.start_again(job), Completed("1"))
    assert store.find(job.lease.job_id).error is None
    assert [a.error for a in history(store, job.lease.job_id)] == ["the first time", None]


@pytest.mark.parametrize("outcome", EVERY_OUTCOME, ids=str)
def test_settling_the_same_again_is_answered_as_the_first_time(
    store: Store, outcome: Outcome
) -> None:
    job = store.start()
    first = store.settle(job, outcome)
    before = store.find(job.lease.job_id)
    assert store.settle(job, outcome) is first
    assert store.find(job.lease.job_id) == before
    assert len(history(store, job.lease.job_id)) == 1


def test_settling_again_is_answered_as_the_first_time_though_the_job_went_on(
    store: Store,
) -> None:
    job = store.start()
    first = store.settle(job, Interrupted())
    store.start_again(job)
    assert store.settle(job, Interrupted()) is first


def test_a_batch_settles_each_attempt_by_its_own_outcome(store: Store) -> None:
    jobs = [store.start() for _ in EVERY_OUTCOME]
    states = store.settle_many(
        *(Settlement(job, o, MINUTE) for job, o in zip(jobs, EVERY_OUTCOME, strict=True))
    )
    assert [states[job.lease] for job in jobs] == [
        S.COMPLETED, S.SCHEDULED, S.FAILED, S.SCHEDULED, S.CANCELLED, S.AVAILABLE,
        S.AVAILABLE, S.SCHEDULED, S.AVAILABLE,
    ]  # fmt: skip
    assert [store.state(job.lease.job_id) for job in jobs] == [states[job.lease] for job in jobs]


def test_a_batch_of_any_size_is_settled_by_the_same_few_statements(store: Store) -> None:
    jobs = [store.start() for _ in range(20)]
    said: list[str] = []
    event.listen(store.database.engine, "before_cursor_execute", lambda *a: said.append(a[2]))
    store.settle_many(*(Settlement(job, Completed("1")) for job in jobs))
    assert len([text for text in said if not text.startswith("BEGIN")]) == 2


def test_the_history_says_who_ran_an_attempt_when_and_how_it_ended(store: Store) -> None:
    started = store.clock.present
    job = store.start(worker="w1")
    store.clock.turn(MINUTE)
    store.settle(job, Failed("no", "Traceback …"))
    [attempt] = history(store, job.lease.job_id)
    assert attempt == attempts.AttemptRecord(
        1, "w1", started, started + MINUTE, "failed", JobState.SCHEDULED, "no", "Traceback …"
    )


def test_the_history_keeps_every_attempt_in_order(store: Store) -> None:
    job = store.start()
    store.settle(job, Interrupted())
    store.start_again(job)
    store.lose_worker()
    again = store.start_again(job)
    store.settle(again, Snoozed(SECOND))
    store.clock.turn(HOUR)
    store.promote()
    store.settle(store.start_again(job), Completed("1"))
    outcomes = [(a.attempt, a.outcome) for a in history(store, job.lease.job_id)]
    assert outcomes == [(1, "interrupted"), (2, "rescued"), (3, "snoozed"), (4, "completed")]


@pytest.mark.parametrize("text", ["a\x00b", "\ud83d", "\udfff and ü", "🚀\x00\ud800"])
def test_an_error_of_any_text_is_kept(store: Store, text: str) -> None:
    job = store.start()
    assert store.settle(job, Failed(text, f"Traceback: {text}")) is S.SCHEDULED
    error = store.find(job.lease.job_id).error
    assert error == text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
    [attempt] = history(store, job.lease.job_id)
    assert attempt.traceback == f"Traceback: {error}"


@pytest.mark.parametrize("after", [timedelta.max, timedelta(days=365 * 9000)])
def test_a_wait_without_end_does_not_cost_the_others_their_settlement(
    store: Store, after: timedelta
) -> None:
    odd, other = store.start(), store.start()
    store.settle_many(Settlement(odd, Snoozed(after)), Settlement(other, Completed("1")))
    assert store.state(odd.lease.job_id) is S.SCHEDULED
    assert store.state(other.lease.job_id) is S.COMPLETED


def test_promise_7_an_outcome_that_cannot_be_stored_is_a_failure_and_the_others_settle(
    store: Store,
) -> None:
    odd, good = store.start(max_attempts=1), store.start()
    unspeakable: Any = 5
    states = store.settle_many(
        Settlement(odd, Failed(unspeakable)), Settlement(good, Completed("1"))
    )
    assert states == {odd.lease: S.FAILED, good.lease: S.COMPLETED}
    assert "Failed could not be stored" in str(store.find(odd.lease.job_id).error)
