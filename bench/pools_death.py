"""What follows when a child dies under a job: who hears of it, and when that job runs again."""

import asyncio
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import pool_work
from milepost.jobs.outcomes import Completed, Crashed
from pool_jobs import JOBS, Told
from pools_milepost import bare, worker
from pools_node import piscina
from pools_peers import PEERS, PISCINA, POOL, THREADS
from sides import Samples, in_a_process, in_turn, show_samples

# What a job in another child has left to do when its sibling dies, in seconds.
NAP = 0.6
# After so many seconds nobody is told any more.
TOLD_WITHIN = 3.0


AGAIN = "job's next start"


class Deaths(NamedTuple):
    """How long it took, and how many of the siblings ran on to their end."""

    took: Samples
    siblings: int


def measure(samples: int, rounds: int, peers: list[str]) -> None:
    sides: dict[str, Callable[[], Deaths]] = {
        "Milepost process, pool alone": partial(in_a_process, bare_deaths, samples),
        "Milepost process, worker, SQLite": partial(in_a_process, durable_deaths, samples),
    }
    for name in peers:
        if name == PISCINA:
            sides[f"{name}, process.exit() in a thread"] = partial(piscina_deaths, samples)
        elif name not in (POOL, THREADS):
            sides[f"{name}, submitted again when told"] = partial(
                in_a_process, peer_deaths, name, samples
            )
    for name, found in in_turn(sides, rounds).items():
        lived = sum(each.siblings for each in found)
        show_samples(name, [each.took for each in found])
        print(f"    of {samples * rounds} siblings {lived} ran to their end", flush=True)
    if in_a_process(never_told, POOL):
        print(f"  {POOL}: nobody hears of it, the job never ends")
    print(f"  {THREADS}, {PISCINA}: a signal that kills ends the whole process")


def bare_deaths(samples: int) -> Deaths:
    """The pool tells of it, and is given the job again."""
    told: list[float] = []
    again: list[float] = []
    siblings = 0
    with tempfile.TemporaryDirectory() as folder, bare("process", 2) as side:
        for number in range(samples):
            moments, begun = f"{folder}/{number}", f"{folder}/{number}-sibling"
            [sibling] = side.run("nap", Told(seconds=NAP, moments=begun))
            pool_work.noted(begun)
            side.run("die", Told(moments=moments))
            _, outcome = side.next_end()
            told_at = time.monotonic_ns()
            assert isinstance(outcome, Crashed), outcome
            side.run("die", Told(moments=moments))
            ends = dict([side.next_end(), side.next_end()])
            siblings += isinstance(ends[sibling], Completed)
            died_at, again_at = pool_work.noted(moments, 2)
            told.append((told_at - died_at.at) / 1e6)
            again.append((again_at.at - died_at.at) / 1e6)
    return Deaths({"outcome": told, AGAIN: again}, siblings)


def durable_deaths(samples: int) -> Deaths:
    """The worker runs it again by itself."""
    again: list[float] = []
    siblings = 0

    async def main(folder: str) -> None:
        nonlocal siblings
        async with worker("process", 2) as side:
            for number in range(samples):
                moments, begun = f"{folder}/{number}", f"{folder}/{number}-sibling"
                naps = Told(seconds=NAP, moments=begun)
                sibling = await side.milepost.submit(JOBS["process-nap"], naps)
                await asyncio.to_thread(pool_work.noted, begun)
                dies = await side.milepost.submit(JOBS["process-die"], Told(moments=moments))
                await dies.result()
                await sibling.result()
                siblings += len(await sibling.attempts()) == 1
                died_at, again_at = pool_work.noted(moments, 2)
                again.append((again_at.at - died_at.at) / 1e6)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(folder))
    return Deaths({AGAIN: again}, siblings)


def peer_deaths(name: str, samples: int) -> Deaths:
    """Whoever has submitted it hears of it, and submits it again; to a new pool where he must."""
    told: list[float] = []
    again: list[float] = []
    siblings = 0
    with tempfile.TemporaryDirectory() as folder, ExitStack() as pools:
        submit = pools.enter_context(PEERS[name].open(2, None))
        for number in range(samples):
            moments, begun = f"{folder}/{number}", f"{folder}/{number}-sibling"
            sibling = submit(pool_work.nap, NAP, begun)
            pool_work.noted(begun)
            error = submit(pool_work.die_once, moments).exception(timeout=TOLD_WITHIN)
            told_at = time.monotonic_ns()
            assert error is not None
            try:
                second = submit(pool_work.die_once, moments)
            except BrokenExecutor:
                submit = pools.enter_context(PEERS[name].open(2, None))
                second = submit(pool_work.die_once, moments)
            second.result()
            siblings += sibling.exception() is None
            died_at, again_at = pool_work.noted(moments, 2)
            told.append((told_at - died_at.at) / 1e6)
            again.append((again_at.at - died_at.at) / 1e6)
    return Deaths({"error": told, AGAIN: again}, siblings)


def piscina_deaths(samples: int) -> Deaths:
    found = piscina("death", samples)
    return Deaths({"error": found["told"], AGAIN: found["again"]}, found["siblings"])


def never_told(name: str) -> bool:
    with tempfile.TemporaryDirectory() as folder, PEERS[name].open(2, None) as submit:
        try:
            submit(pool_work.die_once, f"{folder}/moments").exception(timeout=TOLD_WITHIN)
        except TimeoutError:
            return True
    return False
