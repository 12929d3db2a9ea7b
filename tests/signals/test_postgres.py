import contextlib
import json
import logging
import os
import resource
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from milepost.signals import Signal, Topic
from milepost.signals.postgres import CHANNEL, PostgresSignals
from milepost.store.database import Database, open_database
from tests.signals.heard import Heard

NEWS = Signal(Topic.SETTLED, job_ids=(1,))


@pytest.fixture
def database(postgres_store_url: str) -> Iterator[Database]:
    database = open_database(postgres_store_url)
    yield database
    database.close()


@pytest.fixture
def signals(database: Database) -> Iterator[PostgresSignals]:
    signals = PostgresSignals(database, reconnect_after=timedelta(milliseconds=20))
    yield signals
    signals.close()


@pytest.fixture
def heard(signals: PostgresSignals) -> Heard:
    heard = Heard()
    signals.subscribe(heard)
    heard.wait_for_anything()
    return heard


def terminate_listener(database: Database) -> int:
    with database.begin() as conn:
        return len(
            conn.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    f" WHERE datname = current_database() AND query = 'LISTEN {CHANNEL}'"
                )
            ).all()
        )


def test_after_a_lost_connection_it_listens_again_and_says_that_anything_may_have_happened(
    database: Database,
    signals: PostgresSignals,
    heard: Heard,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for times in (2, 3):
        with caplog.at_level(logging.WARNING, "milepost.signals"):
            assert terminate_listener(database) == 1
            heard.wait_for_anything(times=times)
    assert "connecting again" in caplog.text

    with database.begin() as conn:
        signals.announce(conn, NEWS)
    heard.wait_for(NEWS)


@pytest.mark.parametrize(
    "payload",
    ["", "nonsense", "[]", '["a topic of a later version", null, []]', '{"v":2}', "3", "null"],
)
def test_a_signal_of_another_version_means_look_in_the_store(
    database: Database, heard: Heard, payload: str
) -> None:
    heard.signals.clear()
    with database.begin() as conn:
        conn.execute(
            text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": payload}
        )
    heard.wait_for_anything()


def test_a_payload_fits_into_a_notification_at_its_largest(
    database: Database, signals: PostgresSignals, heard: Heard
) -> None:
    ids = tuple(range(2**63 - 1000, 2**63 - 1))
    with database.begin() as conn:
        signals.announce(conn, Signal(Topic.SETTLED, "q" * 200, ids))
    heard.wait(lambda told: {i for signal in told for i in signal.job_ids} == set(ids))


def test_a_queue_of_any_letters_fits_beside_the_most_ids(
    database: Database, signals: PostgresSignals, heard: Heard
) -> None:
    told = Signal(Topic.SETTLED, "🚀" * 200, tuple(range(2**63 - 200, 2**63)))
    assert len(json.dumps(told.queue)) > 2000
    with database.begin() as conn:
        signals.announce(conn, told)
    heard.wait_for(told)


def test_a_server_that_is_not_there_does_not_keep_a_close_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nowhere = open_database("postgresql://milepost@127.0.0.1:1/nowhere")
    signals = PostgresSignals(nowhere, reconnect_after=timedelta(hours=1))
    with caplog.at_level(logging.WARNING, "milepost.signals"):
        signals.subscribe(Heard())
        signals.close()
    nowhere.close()


def test_it_listens_in_a_process_with_more_descriptors_than_select_takes(
    database: Database, signals: PostgresSignals
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(1100):
                stack.enter_context(Path(os.devnull).open())
            heard = Heard()
            signals.subscribe(heard)
            heard.wait_for_anything()
            with database.begin() as conn:
                signals.announce(conn, NEWS)
            heard.wait_for(NEWS)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
