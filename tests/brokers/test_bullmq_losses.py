"""Promise 6: what Redis loses is carried again, and what the store has ended is dropped."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from milepost.brokers.bullmq.scripts import Scripts
from milepost.errors import RedisAway, RedisUnfit
from milepost.jobs.leases import Settlement
from milepost.jobs.outcomes import Completed, Failed
from milepost.jobs.states import JobState
from milepost.redis import Link
from milepost.settings import RedisSettings
from milepost.store import adoption, jobs
from tests.brokers.bullmq_line import BullmqLine
from tests.proxy import Proxy, proxy
from tests.servers import RedisServer, redis_server
from tests.store.store import HOUR, MINUTE, Store, job_request

S = JobState
PATIENCE = 30.0


async def until(check: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def old_enough(store: Store) -> None:
    """What these tests submit was committed a while ago."""
    store.clock.present = datetime.now(UTC) - timedelta(seconds=10)


async def shown(line: BullmqLine, job_id: int | str) -> str:
    return (await line.shown(job_id))[0]


async def test_what_was_committed_and_never_sent_is_sent(bullmq_line: BullmqLine) -> None:
    await bullmq_line.broker().reconcile()
    first = bullmq_line.store.submit()
    await bullmq_line.broker().reconcile()
    assert await shown(bullmq_line, first) == "waiting"
    later = bullmq_line.store.submit(delay=HOUR)
    await bullmq_line.broker().reconcile()
    assert await shown(bullmq_line, later) == "delayed"


async def test_what_a_submitter_is_about_to_send_is_left_to_it(bullmq_line: BullmqLine) -> None:
    await bullmq_line.broker().reconcile()
    bullmq_line.store.clock.present = datetime.now(UTC)
    fresh = bullmq_line.store.submit()
    await bullmq_line.broker().reconcile()
    assert await bullmq_line.entry(fresh) is None


async def test_an_emptied_redis_is_filled_again_at_once(bullmq_line: BullmqLine) -> None:
    broker = bullmq_line.broker()
    waiting = [await bullmq_line.submit(priority=p) for p in (0, 3)]
    scheduled = await bullmq_line.submit(delay=HOUR)
    running = await bullmq_line.start(queue="other")
    await broker.reconcile()
    prefix = bullmq_line.link.settings.prefix
    bullmq_line.redis("DEL", *bullmq_line.redis("KEYS", f"{prefix}*"))

    await broker.reconcile()

    assert [await shown(bullmq_line, each) for each in waiting] == ["waiting", "prioritized"]
    assert await shown(bullmq_line, scheduled) == "delayed"
    # A running one comes back when it ends otherwise than well.
    assert await bullmq_line.entry(running.lease.job_id, queue="other") is None
    assert await bullmq_line.settle(running, Completed("1")) is S.COMPLETED


async def test_many_waiting_jobs_are_restored_in_pages(bullmq_line: BullmqLine) -> None:
    bullmq_line.store.submit_many(*(job_request(priority=n % 3) for n in range(2500)))
    await bullmq_line.broker().reconcile()
    counts = await bullmq_line.queue().getJobCounts()
    assert counts["waiting"] + counts["prioritized"] == 2500


async def test_one_worker_reconciles_and_another_follows_it(bullmq_line: BullmqLine) -> None:
    leader, follower = bullmq_line.broker("w1"), bullmq_line.broker("w2")
    await leader.reconcile()
    first = bullmq_line.store.submit()
    await follower.reconcile()
    assert await bullmq_line.entry(first) is None
    await leader.aclose()
    await follower.reconcile()
    assert await shown(bullmq_line, first) == "waiting"


def let_lock_run_out(line: BullmqLine, entry: str, *, queue: str = "default") -> None:
    line.redis("DEL", line.queue(queue).keys[""] + f"{entry}:lock")


@pytest.mark.parametrize(
    ("outcome", "becomes"),
    [
        (Completed("3"), "completed"),
        (Failed("no", recoverable=False), "failed"),
        (Failed("busy"), "delayed"),
    ],
    ids=str,
)
async def test_an_outcome_that_redis_did_not_hear_is_shown_later(
    bullmq_line: BullmqLine, outcome, becomes: str
) -> None:
    job = await bullmq_line.start()
    # The worker died, or Redis was away, between the two commits.
    bullmq_line.store.settle(job, outcome, retry_after=HOUR)
    await bullmq_line.broker().reconcile()
    assert await shown(bullmq_line, job.lease.job_id) == "active"

    let_lock_run_out(bullmq_line, f"m{job.lease.job_id}")
    await bullmq_line.broker().reconcile()
    state, entry = await bullmq_line.shown(job.lease.job_id)
    assert state == becomes
    assert entry.returnvalue == (3 if becomes == "completed" else None)


async def test_an_entry_taken_by_a_worker_that_died_before_its_claim_waits_again(
    bullmq_line: BullmqLine,
) -> None:
    job_id, foreign = await bullmq_line.submit(), await bullmq_line.add({})
    scripts = Scripts(bullmq_line.link).of("default")
    for _ in range(2):
        bullmq_line.redis(*scripts.take(token="gone", lock_ms=60_000))
    for entry in (f"m{job_id}", foreign):
        let_lock_run_out(bullmq_line, entry)
    await bullmq_line.broker().reconcile()
    assert await shown(bullmq_line, job_id) == "waiting"
    assert await shown(bullmq_line, foreign) == "waiting"


async def test_an_active_entry_that_is_gone_is_forgotten(bullmq_line: BullmqLine) -> None:
    active = bullmq_line.queue().keys["active"]
    bullmq_line.redis("LPUSH", active, "m7", "another")
    await bullmq_line.submit()
    await bullmq_line.broker().reconcile()
    assert bullmq_line.redis("LRANGE", active, 0, -1) == []


async def test_the_prefix_of_another_store_is_left_alone(bullmq_line: BullmqLine) -> None:
    owner = f"{bullmq_line.link.settings.prefix}:store"
    bullmq_line.redis("SET", owner, "another store")
    scripts = Scripts(bullmq_line.link).of("default")
    bullmq_line.redis(
        *scripts.add("m999", "work", "{}", timestamp=1, delay=0, priority=0, attempts=1)
    )
    with pytest.raises(RedisUnfit):
        await bullmq_line.broker().receive("default", limit=1, lease_for=MINUTE)
    with pytest.raises(RedisUnfit):
        await bullmq_line.broker().reconcile()
    assert await shown(bullmq_line, "m999") == "waiting"


@pytest.mark.parametrize("becomes", ["active", "completed"])
async def test_what_another_program_has_begun_stays_where_it_put_it(
    bullmq_line: BullmqLine, becomes: str
) -> None:
    first = bullmq_line.broker("w1")
    job_id = bullmq_line.store.submit(kind="of-another-program")
    await first.reconcile()
    scripts = Scripts(bullmq_line.link).of("default")
    bullmq_line.redis(*scripts.take(token="node", lock_ms=60_000))
    if becomes == "completed":
        bullmq_line.redis(*scripts.complete(f"m{job_id}", "1", token="node", keep=9))
    else:
        let_lock_run_out(bullmq_line, f"m{job_id}")
    await first.send([job_id])
    await first.aclose()
    await bullmq_line.broker("w2").reconcile()
    assert await shown(bullmq_line, job_id) == becomes


async def test_what_another_program_added_where_it_works_alone_is_its_own(
    bullmq_line: BullmqLine,
) -> None:
    # A job of ours waits there too, so this worker looks at that queue.
    bullmq_line.store.submit(kind="of-another-program", queue="theirs")
    await bullmq_line.broker().reconcile()
    theirs = str((await bullmq_line.queue("theirs").add("own", {}, {"lifo": True})).id)
    scripts = Scripts(bullmq_line.link).of("theirs")
    assert bullmq_line.redis(*scripts.take(token="node", lock_ms=60_000))[1] == theirs
    let_lock_run_out(bullmq_line, theirs, queue="theirs")
    await bullmq_line.broker().reconcile()
    entry = await bullmq_line.entry(theirs, queue="theirs")
    assert entry is not None
    assert await entry.getState() == "active"


async def test_an_entry_that_a_living_worker_is_about_to_claim_stays_its_own(
    bullmq_line: BullmqLine,
) -> None:
    job_id = await bullmq_line.submit()
    scripts = Scripts(bullmq_line.link).of("default")
    bullmq_line.redis(*scripts.take(token="w2", lock_ms=60_000))
    await bullmq_line.broker().reconcile()
    assert await shown(bullmq_line, job_id) == "active"


async def test_an_entry_whose_job_the_store_does_not_have_is_dropped(
    bullmq_line: BullmqLine,
) -> None:
    scripts = Scripts(bullmq_line.link).of("default")
    bullmq_line.redis(
        *scripts.add("m999", "work", "{}", timestamp=1, delay=0, priority=0, attempts=1)
    )
    await bullmq_line.assert_nothing_waits()
    assert await bullmq_line.entry("m999") is None


@pytest.mark.parametrize("ends", [False, True], ids=["running", "completed"])
async def test_promise_2_an_entry_that_is_delivered_twice_runs_once(
    bullmq_line: BullmqLine, ends: bool
) -> None:
    job = await bullmq_line.start()
    if ends:
        bullmq_line.store.settle(job, Completed("1"))
    bullmq_line.redis("LPUSH", bullmq_line.queue().keys["wait"], f"m{job.lease.job_id}")
    await bullmq_line.assert_nothing_waits()
    assert bullmq_line.store.find(job.lease.job_id).attempt == 1


async def test_settling_after_the_lock_ran_out_is_shown_all_the_same(
    bullmq_line: BullmqLine,
) -> None:
    job = await bullmq_line.start()
    let_lock_run_out(bullmq_line, f"m{job.lease.job_id}")
    assert await bullmq_line.settle(job, Completed("1")) is S.COMPLETED
    assert await shown(bullmq_line, job.lease.job_id) == "completed"


async def test_a_claim_that_the_store_could_not_make_gives_the_entry_back(
    bullmq_line: BullmqLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, foreign = await bullmq_line.submit(), await bullmq_line.add({})

    def broken(*_: object, **__: object) -> None:
        raise ConnectionError("the store is away")

    with monkeypatch.context() as patched:
        patched.setattr(jobs, "claim_these", broken)
        patched.setattr(adoption, "adopt", broken)
        with pytest.raises(ConnectionError):
            await bullmq_line.broker().receive("default", limit=2, lease_for=MINUTE)
    assert await shown(bullmq_line, job_id) == "waiting"
    assert await shown(bullmq_line, foreign) == "waiting"
    assert len(await bullmq_line.receive(2)) == 2


# Redis away.


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of the test's own, to be stopped and killed."""
    with redis_server() as server:
        yield server


@pytest.fixture
def network(redis: RedisServer) -> Iterator[Proxy]:
    with proxy(redis.port) as made:
        yield made


@pytest.fixture
def frail_settings(network: Proxy) -> RedisSettings:
    return RedisSettings(
        url=f"redis://127.0.0.1:{network.port}",
        answer_within=timedelta(seconds=0.3),
        away_after=timedelta(0),
    )


@pytest.fixture
async def frail(store: Store, frail_settings: RedisSettings) -> AsyncIterator[BullmqLine]:
    """A line on that Redis, through that network."""
    link = Link(frail_settings)
    line = BullmqLine(store, link)
    yield line
    await line.aclose()
    link.close()


def stopped(redis: RedisServer, network: Proxy) -> Callable[[], None]:
    redis.stop()
    return redis.start


def swallowed(redis: RedisServer, network: Proxy) -> Callable[[], None]:
    network.swallow()
    return network.pass_on


def config(redis: RedisServer, *command: str) -> None:
    link = Link(RedisSettings(url=redis.url))
    link.call(*command)
    link.close()


def full(redis: RedisServer, network: Proxy) -> Callable[[], None]:
    config(redis, "CONFIG", "SET", "maxmemory", "1")
    return lambda: config(redis, "CONFIG", "SET", "maxmemory", "0")


def read_only(redis: RedisServer, network: Proxy) -> Callable[[], None]:
    config(redis, "REPLICAOF", "127.0.0.1", "1")
    return lambda: config(redis, "REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize("fault", [stopped, swallowed, full, read_only])
async def test_while_redis_is_away_the_store_goes_on_and_then_all_is_as_before(
    frail: BullmqLine, redis: RedisServer, network: Proxy, fault
) -> None:
    broker = frail.broker()
    await broker.reconcile()
    held = await frail.start()
    waiting = await frail.submit()
    mend = fault(redis, network)

    # Submitting, settling and renewing do what they do, and say nothing of it.
    assert [each.lease for each in await broker.renew([held.lease], lease_for=MINUTE)] == [
        held.lease
    ]
    submitted = await frail.submit()
    assert await frail.settle(held, Completed("1")) is S.COMPLETED
    await broker.reconcile()
    # Claiming goes to the store itself.
    assert {job.lease.job_id for job in await frail.receive(2)} == {waiting, submitted}
    assert frail.link.is_away

    mend()
    await until(lambda: not frail.link.is_away)
    last = await frail.submit()
    await broker.reconcile()
    assert (await frail.receive_one()).lease.job_id == last
    # Redis learns what became of what it had (where it still had it).
    await broker.aclose()
    let_lock_run_out(frail, f"m{held.lease.job_id}")
    await frail.broker("w2").reconcile()
    if fault is not stopped:
        assert await shown(frail, held.lease.job_id) == "completed"


async def test_a_short_absence_does_not_send_workers_to_the_store(
    store: Store, frail_settings: RedisSettings, redis: RedisServer
) -> None:
    link = Link(replace(frail_settings, away_after=HOUR))
    line = BullmqLine(store, link)
    await line.submit()
    redis.stop()
    for _ in range(3):
        assert list(await line.broker().receive("default", limit=1, lease_for=MINUTE)) == []
    assert link.is_away
    await line.aclose()
    link.close()


async def test_calls_fail_at_once_while_redis_is_away(frail: BullmqLine, network: Proxy) -> None:
    network.swallow()
    with pytest.raises(RedisAway):
        frail.redis("PING")
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(RedisAway):
            frail.redis("PING")
    assert time.monotonic() - began < 0.3


async def test_a_wait_while_redis_is_away_sends_the_worker_to_ask(
    frail: BullmqLine, redis: RedisServer
) -> None:
    redis.stop()
    await frail.broker().receive("default", limit=1, lease_for=MINUTE)
    told = await frail.broker().wait(["default"], timeout=MINUTE, wanted=lambda _: True)
    assert list(told) == ["default"]


async def test_scripts_that_a_restarted_redis_forgot_are_loaded_again(
    frail: BullmqLine,
) -> None:
    await frail.submit()
    frail.redis("SCRIPT", "FLUSH")
    assert len(await frail.receive(1)) == 1


async def test_a_settlement_of_many_while_redis_is_away_is_kept(
    frail: BullmqLine, redis: RedisServer
) -> None:
    for _ in range(5):
        await frail.submit()
    held = await frail.receive(5)
    redis.stop()
    states = await frail.broker().settle([Settlement(job, Completed("1")) for job in held])
    assert set(states.values()) == {S.COMPLETED}
