"""Turns that all workers of a store take together."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from milepost.store import budgets
from tests.store.store import Store


def take(store: Store, key: str = "shop", *, every: float = 0.1, burst: int = 1) -> float:
    with store.database.begin() as conn:
        return budgets.reserve(conn, store.clock, key, every=every, burst=burst)


def test_turns_follow_each_other_at_their_distance(store: Store) -> None:
    assert [take(store) for _ in range(4)] == pytest.approx([0, 0.1, 0.2, 0.3], abs=1e-4)
    store.clock.turn(timedelta(seconds=0.25))
    assert take(store) == pytest.approx(0.15, abs=1e-4)


def test_a_pause_is_not_made_up_for_beyond_the_burst(store: Store) -> None:
    take(store, burst=3)
    store.clock.turn(timedelta(hours=1))
    turns = [take(store, burst=3) for _ in range(5)]
    assert turns == pytest.approx([0, 0, 0, 0.1, 0.2], abs=1e-4)


def test_keys_have_turns_of_their_own(store: Store) -> None:
    take(store)
    assert take(store, "another") == 0


def test_who_is_told_to_hold_on_holds_all(store: Store) -> None:
    for seconds in (5.0, 2.0):
        with store.database.begin() as conn:
            budgets.hold(conn, store.clock, "shop", seconds=seconds)
    assert [take(store) for _ in range(2)] == pytest.approx([5, 5.1], abs=1e-4)


def test_two_never_get_the_same_turn(store: Store) -> None:
    with ThreadPoolExecutor(8) as threads:
        turns = sorted(threads.map(lambda _: round(take(store), 3), range(40)))
    assert turns == pytest.approx([step / 10 for step in range(40)], abs=2e-3)
