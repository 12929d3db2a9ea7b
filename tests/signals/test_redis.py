"""What signals do on Redis, whatever the store is."""

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from milepost.redis import Link
from milepost.settings import RedisSettings
from milepost.signals import RedisSignals, Signal, Topic
from milepost.store.database import Database
from tests.proxy import proxy
from tests.servers import RedisServer, redis_server
from tests.signals.heard import Heard

NEWS = Signal(Topic.SETTLED, job_ids=(1, 2, 2**62))
LAST = Signal(Topic.AVAILABLE, "the last")


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def link(redis: RedisServer) -> Iterator[Link]:
    link = Link(RedisSettings(url=redis.url, answer_within=timedelta(seconds=0.3)))
    yield link
    link.close()


@pytest.fixture
def signals(database: Database, link: Link) -> Iterator[RedisSignals]:
    signals = RedisSignals(database, link)
    yield signals
    signals.close()


@pytest.fixture
def heard(signals: RedisSignals) -> Heard:
    """A listener that hears what is told from now on."""
    heard = Heard()
    signals.subscribe(heard)
    heard.wait_for_anything()
    return heard


def announce(database: Database, signals: RedisSignals, *told: Signal) -> None:
    with database.begin() as conn:
        for signal in told:
            signals.announce(conn, signal)


@pytest.mark.parametrize(
    "signal",
    [NEWS, Signal(Topic.AVAILABLE, "ü 🚀"), Signal(Topic.CANCEL, job_ids=(7,))],
    ids=str,
)
def test_a_subscriber_hears_a_signal_as_it_was_told(
    database: Database, signals: RedisSignals, heard: Heard, signal: Signal
) -> None:
    announce(database, signals, signal)
    heard.wait_for(signal)


def test_nothing_is_heard_before_the_commit(
    database: Database, signals: RedisSignals, heard: Heard
) -> None:
    with database.begin() as conn:
        signals.announce(conn, NEWS)
        announced_elsewhere = RedisSignals(database, signals._link)
        announced_elsewhere._publish(LAST)
        heard.wait_for(LAST)
        assert NEWS not in heard.signals
    heard.wait_for(NEWS)
    announced_elsewhere.close()


def test_a_rollback_announces_nothing(
    database: Database, signals: RedisSignals, heard: Heard
) -> None:
    def broken() -> None:
        with database.begin() as conn:
            signals.announce(conn, NEWS)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    announce(database, signals, LAST)
    heard.wait_for(LAST)
    assert NEWS not in heard.signals


def test_another_process_is_heard(store_url: str, redis: RedisServer, heard: Heard) -> None:
    subprocess.run(
        [sys.executable, "-m", "tests.signals.announcer", store_url, "from afar", redis.url],
        check=True, timeout=60,
    )  # fmt: skip
    heard.wait_for(Signal(Topic.AVAILABLE, "from afar"))


def test_other_prefixes_are_other_stores(
    database: Database, redis: RedisServer, signals: RedisSignals, heard: Heard
) -> None:
    link = Link(RedisSettings(url=redis.url, prefix="{other}"))
    other = RedisSignals(database, link)
    announce(database, other, NEWS)
    other.close()
    link.close()
    announce(database, signals, LAST)
    heard.wait_for(LAST)
    assert NEWS not in heard.signals


def test_what_a_restart_of_redis_swallowed_is_looked_up(
    database: Database, redis: RedisServer, signals: RedisSignals, heard: Heard
) -> None:
    redis.stop()
    announce(database, signals, NEWS)
    redis.start()
    heard.wait_for_anything(times=2)
    deadline = time.monotonic() + 30
    while LAST not in heard.signals:
        assert time.monotonic() < deadline
        announce(database, signals, LAST)
        time.sleep(0.05)


def test_what_a_silent_network_swallowed_is_looked_up(
    database: Database, redis: RedisServer
) -> None:
    with proxy(redis.port) as network:
        link = Link(RedisSettings(url=f"redis://127.0.0.1:{network.port}"))
        signals = RedisSignals(database, link)
        heard = Heard()
        signals.subscribe(heard)
        heard.wait_for_anything()
        network.swallow()
        announce(database, signals, NEWS)
        network.pass_on()
        heard.wait_for_anything(times=2)
        signals.close()
        link.close()


def test_nobody_who_announces_waits_for_a_redis_that_is_away(
    database: Database, redis: RedisServer, signals: RedisSignals
) -> None:
    redis.stop()
    began = time.monotonic()
    for _ in range(50):
        announce(database, signals, NEWS)
    assert time.monotonic() - began < 2


def test_closing_is_quick_and_safe_to_repeat(signals: RedisSignals, heard: Heard) -> None:
    began = time.monotonic()
    signals.close()
    signals.close()
    assert time.monotonic() - began < 1.5
