"""Runs each side of a comparison by itself, in a process that does nothing else, in turn."""

import asyncio
import multiprocessing
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Any, ParamSpec, TypeVar

from milepost import Milepost
from milepost.worker.process import dedicate

P = ParamSpec("P")
R = TypeVar("R")

Samples = dict[str, list[float]]
"""Milliseconds, by what they lead to."""


def in_a_process(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run one side by itself, and get what it returns. Raises EOFError where it fails."""
    spawn = multiprocessing.get_context("spawn")
    near, far = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_send, args=(far, work, args, kwargs))
    process.start()
    # Ours too is a sender: as long as it is open, a side that dies would be waited for.
    far.close()
    try:
        returned: R = near.recv()
    finally:
        process.join()
    return returned


def _send(
    pipe: "Connection[Any, Any]",
    work: Callable[..., object],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    pipe.send(work(*args, **kwargs))


@contextmanager
def worker_process(application: Callable[[str], Milepost], url: str) -> Iterator[None]:
    """Let a worker of an application run in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    ready, stop = spawn.Event(), spawn.Event()
    process = spawn.Process(target=_work, args=(application, url, ready, stop))
    process.start()
    ready.wait(30)
    try:
        yield
    finally:
        stop.set()
        process.join()


def _work(application: Callable[[str], Milepost], url: str, ready: Event, stop: Event) -> None:
    async def main() -> None:
        dedicate()
        async with application(url) as milepost, milepost.worker():
            ready.set()
            await asyncio.to_thread(stop.wait)

    asyncio.run(main())


def in_turn(sides: Mapping[str, Callable[[], R]], rounds: int) -> dict[str, list[R]]:
    """Run all sides one after the other, so many times: what drifts, drifts for all of them."""
    found: dict[str, list[R]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            found[name].append(run())
    return found


def show_samples(side: str, rounds: list[Samples]) -> None:
    """Print what a side has taken, over all rounds."""
    print(f"  {side}")
    for name in rounds[0]:
        print(f"    to the {name:<24} {spell([each for found in rounds for each in found[name]])}")


def spell(samples: list[float]) -> str:
    cuts = statistics.quantiles(samples, n=100)
    return f"p50 {statistics.median(samples):.1f} p99 {cuts[98]:.1f} ms"
