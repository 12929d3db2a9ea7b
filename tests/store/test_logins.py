"""Attempts to log in, counted for all."""

from datetime import timedelta

from milepost.access import _bucket
from milepost.store import logins
from tests.store.store import SECOND, Store


def begin(store: Store, bucket: int = 1) -> timedelta | None:
    with store.database.begin() as conn:
        return logins.begin(conn, store.clock, bucket)


def test_attempts_are_counted_for_a_minute(store: Store) -> None:
    assert [begin(store) for _ in range(logins.MOST)] == [None] * logins.MOST
    store.clock.turn(20 * SECOND)
    assert [begin(store) for _ in range(9)] == [40 * SECOND] * 9
    assert begin(store, 2) is None
    store.clock.turn(40 * SECOND)
    assert begin(store) is None


def test_a_good_attempt_is_taken_back(store: Store) -> None:
    for _ in range(logins.MOST + 1):
        assert begin(store) is None
        with store.database.begin() as conn:
            logins.succeeded(conn, 1)


def test_a_whole_network_is_one_address_and_no_flood_of_addresses_fills_the_table() -> None:
    assert _bucket("2001:db8::1") == _bucket("2001:db8::ffff:2")
    assert _bucket("::ffff:192.0.2.7") == _bucket("192.0.2.7") != _bucket("192.0.2.8")
    buckets = {_bucket(f"10.0.{n // 256}.{n % 256}") for n in range(65_536)}
    assert buckets <= set(range(logins.BUCKETS))
