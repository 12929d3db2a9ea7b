"""How soon a running job ends after somebody has asked for it."""

import asyncio
import os
import random
import select
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import NamedTuple

import pool_work
from milepost.errors import JobCancelled
from milepost.jobs.outcomes import Cancelled
from pool_jobs import JOBS, Told
from pools_milepost import bare, worker
from pools_node import piscina
from pools_peers import EXECUTOR, LOKY, PEBBLE, PEERS, PISCINA, THREADS
from sides import Samples, in_a_process, in_turn, show_samples

# How long a handler that is forced may go on after it was told, in seconds.
GRACE = 0.1


class Handler(NamedTuple):
    """One that is told to stop; where it does not listen it is forced."""

    kind: str
    work: str
    does: str
    force: bool = False


HANDLERS = [
    Handler("coroutine", "wait", "waits to be told"),
    Handler("thread", "wait", "waits to be told"),
    Handler("thread", "compute", "computes, looks every 1 ms"),
    Handler("process", "wait", "waits to be told"),
    Handler("process", "compute", "computes, looks every 1 ms"),
    Handler("process", "never", "never looks", force=True),
    Handler("process", "deaf", "never looks, ignores SIGTERM", force=True),
]


def measure(samples: int, rounds: int, peers: list[str]) -> None:
    sides: dict[str, Callable[[], Samples]] = {}
    for handler in HANDLERS:
        name = f"Milepost {handler.kind}, pool alone: {handler.does}"
        sides[name] = partial(in_a_process, bare_cancels, handler, samples)
    for handler in HANDLERS:
        grace = f", {GRACE * 1000:.0f} ms of grace" if handler.force else ""
        name = f"Milepost {handler.kind}, worker, SQLite: {handler.does}{grace}"
        sides[name] = partial(in_a_process, durable_cancels, handler, samples)
    if PEBBLE in peers:
        sides[f"{PEBBLE}: never returns"] = partial(in_a_process, pebble_cancels, samples)
    if PISCINA in peers:
        sides[f"{PISCINA}: never returns"] = partial(piscina, "cancel", samples)
    for name, found in in_turn(sides, rounds).items():
        show_samples(name, found)
    for name in (THREADS, EXECUTOR, LOKY):
        if name in peers:
            assert in_a_process(refuses, name)
            print(f"  {name}: cannot, cancel() of what runs does nothing and returns False")


def bare_cancels(handler: Handler, samples: int) -> Samples:
    """From the attempt's token, or from the pool's force where that is of no use."""
    found: Samples = {"handler's end": []}
    with tempfile.TemporaryDirectory() as folder, bare(handler.kind, 1) as side:
        for number in range(samples):
            told = Told(moments=f"{folder}/{number}")
            [attempt] = side.run(handler.work, told)
            pool_work.noted(told.moments)
            time.sleep(a_moment())
            asked = time.monotonic()
            attempt.token.stop(JobCancelled("to see how soon"))
            if handler.force:
                time.sleep(GRACE)
                asked = time.monotonic()
                side.pool.force(attempt)
            _, outcome = side.next_end()
            found["handler's end"].append((time.monotonic() - asked) * 1000)
            assert isinstance(outcome, Cancelled), outcome
            if handler.force:
                side.run("weigh", Told())
                found.setdefault("next job", []).append(side.weight().began_at / 1e6 - asked * 1000)
    return found


def durable_cancels(handler: Handler, samples: int) -> Samples:
    """Another application on the same store asks; it has the answer when the outcome stands."""
    found: Samples = {"outcome in the store": [], "return of cancel()": []}

    async def main(folder: str) -> None:
        definition = JOBS[f"{handler.kind}-{handler.work}"]
        grace = timedelta(seconds=GRACE)
        async with worker(handler.kind, 1, cancel_grace=grace) as side:
            for number in range(samples):
                told = Told(moments=f"{folder}/{number}")
                handle = await side.caller.submit(definition, told)
                await asyncio.to_thread(pool_work.noted, told.moments)
                await asyncio.sleep(a_moment())
                asked = time.monotonic()
                became = await handle.cancel()
                returned = time.monotonic()
                assert became.cancelled, became
                stood = await side.watch.stood(handle.job_id)
                found["outcome in the store"].append((stood - asked) * 1000)
                found["return of cancel()"].append((returned - asked) * 1000)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(folder))
    return found


def pebble_cancels(samples: int) -> Samples:
    """Its cancel kills the child, and another one takes its place."""
    found: Samples = {"handler's end": [], "next job": []}
    with tempfile.TemporaryDirectory() as folder, PEERS[PEBBLE].open(1, None) as submit:
        for number in range(samples):
            begun = f"{folder}/{number}"
            future = submit(pool_work.never_return, begun)
            [note] = pool_work.noted(begun)
            time.sleep(a_moment())
            child = os.pidfd_open(note.pid)
            asked = time.monotonic()
            assert future.cancel()
            select.select([child], [], [])
            found["handler's end"].append((time.monotonic() - asked) * 1000)
            os.close(child)
            weight = submit(pool_work.weigh_in).result()
            found["next job"].append(weight.began_at / 1e6 - asked * 1000)
    return found


def refuses(name: str) -> bool:
    with PEERS[name].open(1, None) as submit:
        future = submit(pool_work.nap, 0.5)
        time.sleep(0.2)
        return not future.cancel()


def a_moment() -> float:
    """What a handler has run for when it is told; so that nothing beats in time with it."""
    return random.uniform(0.03, 0.08)
