from typing import Any

from milepost.store import pruning, workers
from milepost.store.workers import WorkerRecord
from tests.store.store import HOUR, MINUTE, Store


def register(store: Store, worker_id: str, **options: Any) -> WorkerRecord:
    worker = WorkerRecord(
        **{
            "id": worker_id, "host": "ü-host", "host_key": "boot-1", "pid": 12, "version": "0.1",
            "queues": ("default", "sync"), "kinds": ("a", "b"), "concurrency": 4, **options,
        }
    )  # fmt: skip
    with store.database.begin() as conn:
        workers.register(conn, store.clock, worker)
    return worker


def find(store: Store, worker_id: str) -> WorkerRecord:
    with store.database.read() as conn:
        found = workers.find(conn, worker_id)
    assert found is not None
    return found


def unstopped(store: Store, **options: Any) -> list[str]:
    with store.database.read() as conn:
        return [worker.id for worker in workers.unstopped(conn, **options)]


def test_a_worker_is_found_as_it_registered(store: Store) -> None:
    worker = register(store, "w1")
    found = find(store, "w1")
    assert (found.host, found.pid, found.queues, found.kinds) == (
        worker.host, worker.pid, worker.queues, worker.kinds,
    )  # fmt: skip
    assert found.started_at == found.seen_at == store.clock.present
    assert (found.running, found.stopped_at) == (0, None)


def test_an_unknown_worker_is_not_found(store: Store) -> None:
    with store.database.read() as conn:
        assert workers.find(conn, "nobody") is None


def test_a_worker_is_seen_with_what_it_runs(store: Store) -> None:
    register(store, "w1")
    started = store.clock.present
    store.clock.turn(MINUTE)
    with store.database.begin() as conn:
        workers.seen(conn, store.clock, "w1", running=3)
    found = find(store, "w1")
    assert (found.started_at, found.seen_at, found.running) == (started, store.clock.present, 3)


def test_a_stopped_worker_stopped_the_first_time_it_was_told(store: Store) -> None:
    register(store, "w1")
    first = store.clock.present
    for _ in range(2):
        with store.database.begin() as conn:
            workers.stopped(conn, store.clock, ["w1", "nobody"])
        store.clock.turn(MINUTE)
    assert find(store, "w1").stopped_at == first


def test_the_unstopped_are_listed_the_oldest_first_and_by_host(store: Store) -> None:
    for worker_id, host_key in (("w3", "a"), ("w1", "b"), ("w2", "a"), ("gone", "a")):
        register(store, worker_id, host_key=host_key)
        store.clock.turn(MINUTE)
    with store.database.begin() as conn:
        workers.stopped(conn, store.clock, ["gone"])
    assert unstopped(store) == ["w3", "w1", "w2"]
    assert unstopped(store, host_key="a") == ["w3", "w2"]


def test_workers_not_seen_for_long_are_forgotten(store: Store) -> None:
    register(store, "old")
    store.clock.turn(HOUR)
    register(store, "new")
    store.clock.turn(MINUTE)
    with store.database.begin() as conn:
        pruning.forget_workers(conn, store.clock, keep_for=HOUR)
    assert unstopped(store) == ["new"]
