"""What signals do on every database."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from milepost.signals import Signal, Signals, Topic, open_signals
from milepost.store.database import Database
from tests.signals.heard import PATIENCE, Heard

NEWS = Signal(Topic.SETTLED, job_ids=(1, 2, 2**62))
LAST = Signal(Topic.AVAILABLE, "the last")


@pytest.fixture
def signals(database: Database) -> Iterator[Signals]:
    signals = open_signals(database)
    yield signals
    signals.close()


@pytest.fixture
def heard(signals: Signals) -> Heard:
    """A listener that hears what is told from now on."""
    heard = Heard()
    signals.subscribe(heard)
    heard.wait_for_anything()
    return heard


def announce(database: Database, signals: Signals, *told: Signal) -> None:
    with database.begin() as conn:
        for signal in told:
            signals.announce(conn, signal)


@pytest.mark.parametrize(
    "signal",
    [
        NEWS,
        Signal(Topic.AVAILABLE, "ü 🚀"),
        Signal(Topic.CANCEL, job_ids=(7,)),
        Signal(Topic.PROGRESS, "q", (1,)),
        Signal(Topic.SCHEDULED),
    ],
    ids=str,
)
def test_a_subscriber_hears_a_signal_as_it_was_told(
    database: Database, signals: Signals, heard: Heard, signal: Signal
) -> None:
    announce(database, signals, signal)
    heard.wait_for(signal)


def test_nothing_is_heard_before_the_commit(
    database: Database, signals: Signals, heard: Heard
) -> None:
    with database.begin() as conn:
        signals.announce(conn, NEWS)
        assert NEWS not in heard.signals
    heard.wait_for(NEWS)


def test_a_rollback_announces_nothing(database: Database, signals: Signals, heard: Heard) -> None:
    def broken() -> None:
        with database.begin() as conn:
            signals.announce(conn, NEWS)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    announce(database, signals, LAST)
    heard.wait_for(LAST)
    assert NEWS not in heard.signals


def test_another_process_is_heard(store_url: str, database: Database, heard: Heard) -> None:
    wanted = Signal(Topic.AVAILABLE, "from afar")
    heard.signals.clear()
    subprocess.run(
        [sys.executable, "-m", "tests.signals.announcer", store_url, "from afar"],
        check=True, timeout=60,
    )  # fmt: skip
    # SQLite tells other processes only that there was something.
    heard.wait_for(Signal(Topic.ANYTHING) if database.is_sqlite else wanted)


def test_a_commit_without_a_signal_in_a_transaction_of_the_callers_own_is_heard(
    database: Database, signals: Signals, heard: Heard
) -> None:
    heard.signals.clear()
    with database.engine.begin() as conn:
        conn.execute(text("UPDATE milepost_store SET id = id"))
        signals.announce(conn, NEWS)
    heard.wait_for(Signal(Topic.ANYTHING) if database.is_sqlite else NEWS)


def test_every_subscriber_hears_until_it_ends(database: Database, signals: Signals) -> None:
    staying, leaving = Heard(), Heard()
    signals.subscribe(staying)
    end = signals.subscribe(leaving)
    staying.wait_for_anything()
    announce(database, signals, NEWS)
    staying.wait_for(NEWS)
    leaving.wait_for(NEWS)

    end()
    end()
    announce(database, signals, LAST)
    staying.wait_for(LAST)
    assert LAST not in leaving.signals


@pytest.mark.parametrize("error", [RuntimeError, ValueError])
def test_a_listener_that_fails_does_not_keep_the_others_from_hearing(
    database: Database, signals: Signals, error: type[Exception]
) -> None:
    def broken(signal: Signal) -> None:
        raise error("broken")

    heard = Heard()
    signals.subscribe(broken)
    signals.subscribe(heard)
    heard.wait_for_anything()
    announce(database, signals, NEWS)
    heard.wait_for(NEWS)


def test_many_ids_arrive_all(database: Database, signals: Signals, heard: Heard) -> None:
    ids = tuple(range(2**61, 2**61 + 1000))
    announce(database, signals, Signal(Topic.SETTLED, job_ids=ids))
    heard.wait(lambda all_: {i for signal in all_ for i in signal.job_ids} == set(ids))


def test_closing_is_quick_and_safe_to_repeat(database: Database) -> None:
    signals = open_signals(database)
    heard = Heard()
    signals.subscribe(heard)
    heard.wait_for_anything()
    began = time.monotonic()
    signals.close()
    signals.close()
    assert time.monotonic() - began < 5


def test_signals_that_nobody_heard_close_too(database: Database) -> None:
    signals = open_signals(database)
    signals.close()
    signals.close()


def test_threads_announce_and_subscribe_at_once(database: Database, signals: Signals) -> None:
    together = threading.Barrier(4)
    listeners = [Heard() for _ in range(4)]

    def subscribe(heard: Heard) -> None:
        together.wait(PATIENCE)
        signals.subscribe(heard)

    threads = [threading.Thread(target=subscribe, args=[heard]) for heard in listeners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    listening = [t for t in threading.enumerate() if t.name == "milepost-signals"]
    assert len(listening) == 1
    announce(database, signals, LAST)
    # Who came too late for the first connection hears the signal itself.
    for heard in listeners:
        heard.wait(bool)
