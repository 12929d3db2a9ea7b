from milepost.jobs.leases import Lease
from milepost.jobs.states import JobState
from milepost.store import logs
from milepost.store.logs import LONGEST_LINE, MOST_LINES, LogLine
from tests.store.store import SECOND, Store


def write(store: Store, lease: Lease, *messages: str) -> None:
    with store.database.begin() as conn:
        logs.write(conn, [LogLine(lease, store.clock.present, "info", text) for text in messages])


def read(store: Store, job_id: int, *, after: int = 0) -> list[LogLine]:
    with store.database.read() as conn:
        return logs.of_job(conn, job_id, after=after)


def messages(store: Store, job_id: int) -> list[str]:
    return [line.message for line in read(store, job_id)]


def test_lines_come_back_in_order_with_their_attempt_and_moment(store: Store) -> None:
    job = store.start()
    with store.database.begin() as conn:
        logs.write(
            conn,
            [
                LogLine(job.lease, store.clock.present, "info", "first"),
                LogLine(job.lease, store.clock.present - SECOND, "error", "ü"),
            ],
        )
    first, second = read(store, job.lease.job_id)
    assert (first.lease, first.at, first.level) == (job.lease, store.clock.present, "info")
    assert (second.at, second.level, second.message) == (
        store.clock.present - SECOND, "error", "ü",
    )  # fmt: skip
    assert first.id is not None
    assert read(store, job.lease.job_id, after=first.id) == [second]


def test_lines_of_many_jobs_are_written_at_once(store: Store) -> None:
    one, two = store.start(), store.start()
    with store.database.begin() as conn:
        logs.write(conn, [LogLine(x.lease, store.clock.present, "info", "a") for x in (one, two)])
    assert messages(store, one.lease.job_id) == messages(store, two.lease.job_id) == ["a"]


def test_the_last_lines_of_an_attempt_that_has_ended_are_kept(store: Store) -> None:
    job_id = store.job_in(JobState.COMPLETED)
    write(store, Lease(job_id, 1), "last words")
    assert messages(store, job_id) == ["last words"]


def test_promise_8_a_job_keeps_its_newest_lines(store: Store) -> None:
    job, other = store.start(), store.start()
    write(store, other.lease, "other")
    for start in range(0, MOST_LINES + 500, 250):
        write(store, job.lease, *(str(i) for i in range(start, start + 250)))
    assert messages(store, job.lease.job_id) == [str(i) for i in range(500, MOST_LINES + 500)]
    assert messages(store, other.lease.job_id) == ["other"]


def test_promise_8_a_long_line_is_cut(store: Store) -> None:
    job = store.start()
    write(store, job.lease, "x" * (LONGEST_LINE + 1))
    assert messages(store, job.lease.job_id) == ["x" * LONGEST_LINE]


def test_a_line_of_any_text_is_kept(store: Store) -> None:
    job = store.start()
    write(store, job.lease, "a\x00b", "\ud800", "🚀")
    assert messages(store, job.lease.job_id) == ["a\\x00b", "\\ud800", "🚀"]
