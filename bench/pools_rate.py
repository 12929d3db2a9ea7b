"""Jobs a second: calls that do nothing, and calls that compute for 10 ms."""

import asyncio
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Literal

import pool_work
from milepost import JobState
from milepost.store import reading
from milepost.worker.process import dedicate
from pool_jobs import JOBS, Told
from pools_milepost import KINDS, bare, worker
from pools_node import piscina
from pools_peers import EXECUTOR, MOST_WAITING, PEERS, PISCINA, Submit
from sides import in_a_process, in_turn

# As many at once as there may be children: then all of them are there, and warm.
NAP = 0.5

Work = Literal["nothing", "burn"]


def measure(work: Work, jobs: int, children: int, rounds: int, peers: list[str]) -> None:
    """Let all sides run in turn, and print the medians."""
    sides: dict[str, Callable[[], float]] = {}
    for how, rate in (("pool alone", bare_rate), ("worker, SQLite", durable_rate)):
        for kind in KINDS:
            name = f"Milepost {kind}, {how}"
            sides[name] = partial(in_a_process, rate, kind, work, jobs, children)
    for name in peers:
        sides[name] = (
            partial(piscina_rate, work, jobs, children)
            if name == PISCINA
            else partial(in_a_process, peer_rate, name, work, jobs, children)
        )
    figures = in_turn(sides, rounds)
    yardstick = statistics.median(figures[EXECUTOR])
    for name, found in figures.items():
        middle = statistics.median(found)
        print(
            f"  {name:<34} {middle:>9,.0f} jobs/s, best {max(found):>9,.0f}: "
            f"{middle / yardstick:>5.2f} times {EXECUTOR}",
            flush=True,
        )


def bare_rate(kind: str, work: Work, jobs: int, children: int) -> float:
    dedicate()
    with bare(kind, children) as side:
        side.feed("nap", Told(seconds=NAP), children, children)
        began = time.perf_counter()
        side.feed(work, Told(), jobs, KINDS[kind].slots(children))
        return jobs / (time.perf_counter() - began)


def durable_rate(kind: str, work: Work, jobs: int, children: int) -> float:
    async def main() -> float:
        async with worker(kind, children) as side:
            naps = [Told(seconds=NAP)] * children
            for nap in await side.milepost.submit_many(JOBS[f"{kind}-nap"], naps):
                await side.watch.stood(nap.job_id)
            dedicate()
            # All or none: the worker sees the first when the last is there.
            await side.milepost.submit_many(JOBS[f"{kind}-{work}"], [Told(n) for n in range(jobs)])
            began = time.perf_counter()
            while len(side.watch.finished) < children + jobs:
                await asyncio.sleep(0.005)
            took = time.perf_counter() - began
            counted = await side.milepost.database.query(reading.counts)
            assert counted["default", JobState.COMPLETED] == children + jobs, counted
            return jobs / took

    return asyncio.run(main())


def peer_rate(name: str, work: Work, jobs: int, children: int) -> float:
    dedicate()
    with PEERS[name].open(children, None) as submit:
        for nap in [submit(pool_work.nap, NAP) for _ in range(children)]:
            nap.result()
        began = time.perf_counter()
        feed(submit, getattr(pool_work, work), jobs, children + MOST_WAITING)
        return jobs / (time.perf_counter() - began)


def feed(submit: Submit, work: Callable[[int], int], jobs: int, slots: int) -> None:
    room = threading.Semaphore(slots)
    wrong: list[BaseException] = []

    def ended(future: Future[Any]) -> None:
        if (error := future.exception()) is not None:
            wrong.append(error)
        room.release()

    for number in range(jobs):
        room.acquire()
        submit(work, number).add_done_callback(ended)
    for _ in range(slots):
        room.acquire()
    assert not wrong, wrong[0]


def piscina_rate(work: Work, jobs: int, children: int) -> float:
    found = piscina("rate", work, jobs, children)
    used = found["cpu"] / 1000
    if work == "burn" and not 0.95 < used / pool_work.CPU_SECONDS < 1.05:
        print(f"  {PISCINA}: its jobs took {used * 1000:.1f} ms of CPU in this round")
    rate: float = found["rate"]
    return rate
