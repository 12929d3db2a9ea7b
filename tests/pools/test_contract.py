"""What every pool does, for `def` and `async def` handlers alike."""

import gc
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta

import psutil
import pytest

from milepost.errors import JobCancelled, JobInterrupted, LeaseLost, TimeLimitExceeded
from milepost.jobs.outcomes import Cancelled, Completed, Failed, Interrupted, Snoozed
from milepost.store import reading
from tests.pools.handlers import VARIANTS
from tests.pools.rig import Rig, descriptors, rig

JOBS = 1000


@pytest.fixture(scope="module", params=list(VARIANTS))
def started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rig]:
    # Before it starts: children have the levels that the worker's loggers had then.
    logging.getLogger("milepost.jobs").setLevel(logging.INFO)
    folder = tmp_path_factory.mktemp("pool")
    with rig(request.param, f"sqlite:///{folder}/store.db") as made:
        yield made
    logging.getLogger("milepost.jobs").setLevel(logging.NOTSET)


@pytest.fixture
def pool(started: Rig) -> Rig:
    """The same pool for all tests: each must leave it as good as it was."""
    started.forget()
    return started


def test_a_handler_runs_with_its_args_and_its_result_comes_back(pool: Rig) -> None:
    assert pool.run("answers", 41) == Completed("42")


def test_an_error_comes_back_with_its_traceback(pool: Rig) -> None:
    outcome = pool.run("raises", 7)

    assert isinstance(outcome, Failed)
    assert outcome.error == "LookupError: no 7"
    assert outcome.recoverable
    assert "tests/pools/handlers.py" in (outcome.traceback or "")
    assert 'raise LookupError(f"no {args}")' in (outcome.traceback or "")


def test_data_and_checkpoint_are_saved_and_progress_and_log_come_in_order(pool: Rig) -> None:
    attempt = pool.attempt("saves", 20)
    pool.pool.run([attempt])

    assert pool.outcome(attempt) == Completed("20")
    assert pool.steps() == list(range(1, 21))
    with pool.database.read() as conn:
        assert reading.find(conn, attempt.lease.job_id).checkpoint == '{"number":20}'
    assert pool.progress[-1].count == 20
    assert pool.progress[-1].message == "steps"
    assert pool.lines == [f"step {number}" for number in range(1, 21)]


def test_an_attempt_goes_on_from_its_checkpoint(pool: Rig) -> None:
    attempt = pool.again(pool.attempt("saves", 20), '{"number": 17}')
    pool.pool.run([attempt])

    assert pool.outcome(attempt) == Completed("20")
    assert pool.steps() == [18, 19, 20]


def test_what_the_handler_logs_reaches_the_programs_own_log(
    pool: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    attempt = pool.attempt("saves", 2)
    pool.pool.run([attempt])
    pool.outcome(attempt)
    pool.until(lambda: len(caplog.records) >= 2)

    assert [record.getMessage() for record in caplog.records] == ["step 1", "step 2"]
    assert {vars(record)["job_id"] for record in caplog.records} == {attempt.lease.job_id}


def test_what_cannot_be_spelled_hides_nothing_else(
    pool: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A record that cannot be formatted is printed by logging itself, which the tests forbid.
    monkeypatch.setattr(logging, "raiseExceptions", False)
    # Nor can pytest report what it has captured, if that cannot be spelled.
    own_log = logging.getLogger("milepost.jobs")
    monkeypatch.setattr(own_log, "propagate", False)
    monkeypatch.setattr(own_log, "handlers", [logging.NullHandler()])
    outcome = pool.run("mumbles")

    assert isinstance(outcome, Failed)
    assert outcome.error.startswith("OSError: no file ")
    assert [line.partition(" ")[0] for line in pool.lines] == ["file"]
    assert pool.run("answers", 1) == Completed("2")


def test_a_snooze_and_giving_up_come_back(pool: Rig) -> None:
    assert pool.run("snoozes", 30) == Snoozed(timedelta(seconds=30), "not yet")
    gave_up = pool.run("gives-up")
    assert isinstance(gave_up, Failed)
    assert (gave_up.error, gave_up.recoverable) == ("never", False)


def test_a_handler_gets_its_services(pool: Rig) -> None:
    served = [pool.run("counts") for _ in range(10)]

    if pool.variant.startswith("process"):
        # One container serves a child for as long as it lives, and there are two at most.
        assert Completed("5") in served
    else:
        assert served == [Completed("1")] * 10


def test_cancelled_before_it_begins_a_handler_never_runs(pool: Rig) -> None:
    attempt = pool.attempt("saves", 3)
    attempt.token.stop(JobCancelled("no need"))
    pool.pool.run([attempt])

    assert pool.outcome(attempt) == Cancelled("no need")
    assert pool.steps() == []


def test_cancelled_while_it_runs_a_handler_that_looks_stops(pool: Rig) -> None:
    attempt = pool.start("looks")
    attempt.token.stop(JobCancelled("enough"))

    assert pool.outcome(attempt) == Cancelled("enough")


def test_cancelled_while_it_runs_a_handler_that_saves_stops_at_its_next_save(pool: Rig) -> None:
    attempt = pool.start("saves-on")
    attempt.token.stop(JobCancelled("enough"))

    assert pool.outcome(attempt) == Cancelled("enough")


def test_cancelled_after_its_end_nothing_happens(pool: Rig) -> None:
    attempt = pool.attempt("answers", 1)
    pool.pool.run([attempt])
    outcome = pool.outcome(attempt)
    attempt.token.stop(JobCancelled("too late"))
    pool.pool.force(attempt)

    assert outcome == Completed("2")
    # And whoever runs next is not meant.
    assert pool.run("answers", 2) == Completed("3")
    assert pool.done.empty()


def test_a_handler_sees_that_the_worker_stops(pool: Rig) -> None:
    attempt = pool.start("looks")
    attempt.token.stop(JobInterrupted("the worker is stopping"))

    assert pool.outcome(attempt) == Completed('"saw that the worker stops"')


def test_a_handler_that_saves_is_interrupted_at_its_next_save(pool: Rig) -> None:
    attempt = pool.start("saves-on")
    attempt.token.stop(JobInterrupted("the worker is stopping"))

    assert pool.outcome(attempt) == Interrupted()


def test_a_weightier_reason_to_stop_replaces_the_first(pool: Rig) -> None:
    attempt = pool.start("sleeps") if pool.variant != "thread" else pool.start("looks")
    attempt.token.stop(JobInterrupted("the worker is stopping"))
    attempt.token.stop(JobCancelled("enough"))
    pool.pool.force(attempt)

    outcome = pool.outcome(attempt)
    # The one that looks may have seen the first already.
    assert outcome in (Cancelled("enough"), Completed('"saw that the worker stops"'))


def test_without_its_lease_an_attempt_has_no_outcome(pool: Rig) -> None:
    attempt = pool.start("looks")
    attempt.token.stop(LeaseLost("somebody else has it"))

    assert pool.outcome(attempt) is None


def test_a_limit_is_a_failure_that_names_it(pool: Rig) -> None:
    attempt = pool.start("looks")
    attempt.token.stop(TimeLimitExceeded("ran longer than 0:00:01"))

    outcome = pool.outcome(attempt)
    assert isinstance(outcome, Failed)
    assert outcome.error == "time limit: ran longer than 0:00:01"


def test_force_ends_what_looks_at_nothing(pool: Rig) -> None:
    if pool.variant == "thread":
        # Python cannot end a thread: that force has no effect is all there is to see.
        attempt = pool.start("looks")
        pool.pool.force(attempt)
        assert pool.done.empty()
        attempt.token.stop(JobCancelled("enough"))
    else:
        attempt = pool.start("sleeps")
        attempt.token.stop(JobCancelled("enough"))
        assert pool.done.empty()
        pool.pool.force(attempt)

    assert pool.outcome(attempt) == Cancelled("enough")


def test_who_hears_of_silence_hears_of_saves_and_progress(pool: Rig) -> None:
    attempt = pool.start("saves-on")
    before = attempt.heard_at
    pool.until(lambda: attempt.heard_at > before)
    attempt.token.stop(JobCancelled("enough"))
    pool.outcome(attempt)


def test_cpu_time_is_told_where_somebody_can_tell(pool: Rig) -> None:
    attempt = pool.start("burns")
    used = timedelta(seconds=0.2)
    if pool.variant == "coroutine":
        assert pool.pool.cpu_used(attempt) is None
    else:
        pool.until(lambda: (pool.pool.cpu_used(attempt) or timedelta(0)) > used)
    attempt.token.stop(JobCancelled("enough"))
    pool.outcome(attempt)
    assert pool.pool.cpu_used(attempt) is None


def test_many_run_beside_each_other_and_all_ends_are_told(pool: Rig) -> None:
    assert pool.run_many("answers", 1, 50) == [Completed("2")] * 50


def resources() -> dict[str, int]:
    gc.collect()
    own = psutil.Process()
    return {
        "processes": len(own.children(recursive=True)),
        "threads": threading.active_count(),
        "descriptors": descriptors(),
        "memory": own.memory_info().rss,
    }


def test_a_thousand_jobs_leak_nothing(pool: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    def run() -> None:
        assert pool.run_many("saves", 1, 100) == [Completed("1")] * 100

    run()
    before = resources()
    for _ in range(JOBS // 100):
        run()
    # Children past the minimum, and threads, end when they have been idle.
    names = ("processes", "threads", "descriptors")
    pool.until(lambda: all(resources()[name] <= before[name] for name in names))
    after = resources()
    with capsys.disabled():
        print(f"\n{pool.variant}: before {before}, after {JOBS} jobs {after}")
    assert after["memory"] - before["memory"] < 20_000_000
