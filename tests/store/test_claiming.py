import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from milepost.jobs.leases import ClaimedJob, JobId, Lease
from milepost.jobs.states import JobState
from milepost.store import jobs
from milepost.store.database import open_database
from tests.store.store import HOUR, KIND, MINUTE, Store, job_request

S = JobState


def ids(claimed: list[ClaimedJob]) -> list[JobId]:
    return [job.lease.job_id for job in claimed]


def test_a_claim_gives_the_job_a_new_attempt_and_a_lease(store: Store) -> None:
    job_id = store.submit(args='{"a":1}')
    [claimed] = store.claim(worker="w", lease_for=MINUTE)

    assert claimed.lease == Lease(job_id, 1)
    assert (claimed.kind, claimed.queue, claimed.args) == (KIND, "default", '{"a":1}')
    assert (claimed.checkpoint, claimed.failures, claimed.max_attempts) == (None, 0, 3)
    job = store.find(job_id)
    assert (job.state, job.attempt, job.worker_id) == (S.RUNNING, 1, "w")
    assert job.started_at == claimed.started_at == store.clock.present
    assert job.lease_expires_at == store.clock.present + MINUTE


def test_the_most_urgent_come_first_and_among_equals_the_oldest(store: Store) -> None:
    late, early, second, urgent = (store.submit(priority=p) for p in (9, 5, 5, 0))
    assert ids(store.claim()) == [urgent, early, second, late]


def test_a_limit_takes_the_most_urgent_and_leaves_the_rest(store: Store) -> None:
    submitted = [store.submit(priority=p) for p in (3, 1, 2, 0)]
    assert ids(store.claim(limit=2)) == [submitted[3], submitted[1]]
    assert ids(store.claim(limit=2)) == [submitted[2], submitted[0]]
    assert store.claim(limit=2) == []


def test_only_jobs_of_the_queue_are_claimed(store: Store) -> None:
    store.submit(queue="a")
    other = store.submit(queue="b")
    assert ids(store.claim(queue="b")) == [other]


def test_only_kinds_that_the_worker_knows_are_claimed(store: Store) -> None:
    store.submit(kind="a", priority=0)
    b, c = store.submit(kind="b", priority=1), store.submit(kind="c", priority=2)
    assert store.claim(kinds=()) == []
    assert ids(store.claim(kinds=("b", "c"))) == [b, c]


def test_a_scheduled_job_is_not_claimed_however_late_it_is(store: Store) -> None:
    store.submit(delay=MINUTE)
    store.clock.turn(HOUR)
    assert store.claim() == []


def test_a_failed_attempt_shows_in_the_next_claim(store: Store) -> None:
    first = store.start()
    store.save(first.lease, '{"page":3}')
    store.lose_worker()
    again = store.start_again(first)
    assert again.lease.attempt == 2
    assert again.checkpoint == '{"page":3}'


def test_many_threads_claim_at_once_and_no_job_twice(store: Store, store_url: str) -> None:
    threads, wanted = 8, 60
    submitted = store.submit_many(*[job_request(priority=i % 3) for i in range(wanted)])
    databases = [open_database(store_url, clock=store.clock) for _ in range(2)]
    together = threading.Barrier(threads)

    def claim(number: int) -> list[JobId]:
        together.wait(30)
        taken: list[JobId] = []
        misses = 0
        # Rows that another claim has locked are skipped, so one empty answer is not the end.
        while misses < 3:
            with databases[number % 2].begin() as conn:
                claimed = jobs.claim(
                    conn, store.clock, queue="default", kinds=[KIND], limit=3,
                    lease_for=timedelta(minutes=1), worker_id=f"worker-{number}",
                )  # fmt: skip
            misses = 0 if claimed else misses + 1
            taken += ids(claimed)
        return taken

    with ThreadPoolExecutor(threads) as pool:
        taken = Counter(job_id for some in pool.map(claim, range(threads)) for job_id in some)
    for database in databases:
        database.close()
    taken.update(ids(store.claim()))

    assert taken == {each.job_id: 1 for each in submitted}
