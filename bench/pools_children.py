"""How soon a child runs its first job, and what it weighs then."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import psutil

import pool_work
from pool_work import Weight
from pools_node import piscina
from pools_peers import EXECUTOR, LOKY, PEBBLE, PEERS, PISCINA
from sides import in_a_process, in_turn

# Longer than any second child takes.
NAP = 3.0
# Time enough for the first child to have taken it.
REST = 0.05


class Child(NamedTuple):
    """Milliseconds to the first line of a child's first job, and what the child weighs in kB.

    `first` counts from the making of the pool, `second` from a submit while the first child is
    busy; None where all children start at once. `helpers` is the PSS of the processes that run no
    jobs, beside our own.
    """

    first: float
    second: float | None
    rss: float
    pss: float
    private: float
    helpers: float


def measure(rounds: int, peers: list[str]) -> None:
    sides: dict[str, Callable[[], Child]] = {
        "Milepost process, fork": partial(in_a_process, milepost_child, "fork"),
        "Milepost process, spawn": partial(in_a_process, milepost_child, "spawn"),
    }
    for name, start in [
        *((EXECUTOR, start) for start in ("fork", "forkserver", "spawn")),
        (PEBBLE, "fork"), (PEBBLE, "spawn"), (LOKY, None),
    ]:  # fmt: skip
        label = f"{name}, {start}" if start else name
        if name in peers:
            sides[label] = partial(in_a_process, peer_child, name, start)
        if name in peers and start != "fork":
            # What it takes where the jobs' module imports that, as all of Milepost's do.
            sides[f"{label}, imports Milepost"] = partial(
                in_a_process, peer_child, name, start, imports="milepost"
            )
    if PISCINA in peers:
        sides[f"{PISCINA}, a thread"] = piscina_thread
    print(f"  {'':<50}first job    second      RSS      PSS  private  helpers")
    for name, found in in_turn(sides, rounds).items():
        first, second, *sizes = (_median(each) for each in zip(*found, strict=True))
        weights = "".join(f"{(size or 0) / 1000:>6,.0f} MB" for size in sizes)
        print(f"  {name:<50}{_ms(first)} {_ms(second)}{weights}", flush=True)


def milepost_child(start: Literal["fork", "spawn"]) -> Child:
    from pool_jobs import Told
    from pools_milepost import bare

    with bare("process", 2, start) as side:
        side.run("weigh", Told())
        first = side.weight()
        helpers = _helpers_beside(first.pid)
        side.run("nap", Told(seconds=NAP))
        time.sleep(REST)
        asked_at = time.monotonic_ns()
        side.run("weigh", Told())
        second = side.weight()
        return _child(side.opened_at, first, helpers, (second.began_at - asked_at) / 1e6)


def peer_child(name: str, start: str | None, imports: str | None = None) -> Child:
    opened_at = time.monotonic_ns()
    with PEERS[name].open(1, start) as submit:
        first = submit(pool_work.weigh_in, imports).result()
        helpers = _helpers_beside(first.pid)
    second = None
    # The others start all at once.
    if name == EXECUTOR and start != "fork":
        with PEERS[name].open(2, start) as submit:
            submit(pool_work.weigh_in, imports).result()
            submit(pool_work.nap, NAP)
            time.sleep(REST)
            asked_at = time.monotonic_ns()
            began_at = submit(pool_work.weigh_in, imports).result().began_at
            second = (began_at - asked_at) / 1e6
    return _child(opened_at, first, helpers, second)


def piscina_thread() -> Child:
    started, weight = piscina("child"), piscina("weight", 4)
    return Child(
        started["first"], started["second"], weight["rss"], weight["pss"], weight["private"], 0
    )


def _child(opened_at: int, first: Weight, helpers: int, second: float | None) -> Child:
    began = (first.began_at - opened_at) / 1e6
    return Child(began, second, first.rss, first.pss, first.private, helpers)


def _helpers_beside(child: int) -> int:
    everyone = psutil.Process().children(recursive=True)
    return sum(pool_work.weight_of(each.pid).pss for each in everyone if each.pid != child)


def _median(found: tuple[float | None, ...]) -> float | None:
    known = [each for each in found if each is not None]
    return statistics.median(known) if known else None


def _ms(found: float | None) -> str:
    return "        -" if found is None else f"{found:>6,.0f} ms"
