from datetime import timedelta

from milepost.jobs.leases import Lease
from milepost.jobs.progress import Progress, ProgressPoint
from milepost.store import progress
from milepost.store.progress import MOST_POINTS
from tests.store.store import SECOND, Store


def report(store: Store, lease: Lease, *counts: int) -> None:
    with store.database.begin() as conn:
        for count in counts:
            [held] = progress.report(conn, store.clock, {lease: Progress(count)}, checkpoints={})
            assert held.lease == lease


def history(store: Store, job_id: int) -> list[ProgressPoint]:
    with store.database.read() as conn:
        return progress.of_job(conn, job_id)


def test_a_report_stands_with_the_job_and_in_its_history(store: Store) -> None:
    job = store.start()
    told = Progress(2**40, 2**41, "rows \x00")
    with store.database.begin() as conn:
        progress.report(conn, store.clock, {job.lease: told}, checkpoints={})
    assert store.find(job.lease.job_id).progress == Progress(2**40, 2**41, "rows \\x00")
    assert history(store, job.lease.job_id) == [
        ProgressPoint(1, store.clock.present, 2**40, 2**41, "rows \\x00")
    ]


def test_a_report_tells_of_a_cancel(store: Store) -> None:
    job = store.start()
    store.cancel(job.lease.job_id, "enough")
    with store.database.begin() as conn:
        [held] = progress.report(conn, store.clock, {job.lease: Progress(1)}, checkpoints={})
    assert (held.cancel_requested, held.cancel_reason) == (True, "enough")


def test_a_copied_checkpoint_leaves_the_progress_as_it_is(store: Store) -> None:
    job, other = store.start(), store.start()
    report(store, job.lease, 5)
    with store.database.begin() as conn:
        held = progress.report(
            conn, store.clock, {other.lease: Progress(7)}, checkpoints={job.lease: '{"page":1}'}
        )
    assert {each.lease for each in held} == {job.lease, other.lease}
    found = store.find(job.lease.job_id)
    assert (found.progress, found.checkpoint) == (Progress(5), '{"page":1}')
    assert store.find(other.lease.job_id).checkpoint is None
    assert len(history(store, job.lease.job_id)) == 1


def test_promise_8_the_history_is_bounded_and_the_last_point_always_kept(store: Store) -> None:
    job, other = store.start(), store.start()
    report(store, other.lease, 1)
    for count in range(3 * MOST_POINTS):
        report(store, job.lease, count)
        points = history(store, job.lease.job_id) if count % 40 == 0 else None
        if points is not None:
            assert points[-1].count == count
            assert len(points) <= MOST_POINTS

    counts = [point.count for point in history(store, job.lease.job_id)]
    assert counts[-1] == 3 * MOST_POINTS - 1
    assert counts == sorted(set(counts))
    # The whole course stays visible, its beginning too.
    assert counts[0] < MOST_POINTS
    assert len(history(store, other.lease.job_id)) == 1


def test_points_have_the_stores_time(store: Store) -> None:
    job = store.start()
    start = store.clock.present
    for count in range(3):
        report(store, job.lease, count)
        store.clock.turn(SECOND)
    moments = [point.at - start for point in history(store, job.lease.job_id)]
    assert moments == [timedelta(seconds=second) for second in range(3)]


def test_promise_7_a_report_that_cannot_be_stored_is_dropped_and_the_others_are_kept(
    store: Store,
) -> None:
    odd, good = store.start(), store.start()
    unspeakable = Progress(2)
    object.__setattr__(unspeakable, "count", object())
    told = {odd.lease: unspeakable, good.lease: Progress(1)}
    with store.database.begin() as conn:
        held = progress.report(conn, store.clock, told, checkpoints={})
    # Its attempt has not lost its lease for that.
    assert {each.lease for each in held} == {odd.lease, good.lease}
    assert store.find(odd.lease.job_id).progress is None
    assert store.find(good.lease.job_id).progress == Progress(1)
