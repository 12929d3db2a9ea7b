"""The pools of others, each behind one `submit` that gives a Future. Knows nothing of Milepost."""

import contextlib
import importlib.util
import multiprocessing
import multiprocessing.pool
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol


class Submit(Protocol):
    """Gives a pool one call to run."""

    def __call__(self, work: Callable[..., Any], /, *args: Any) -> Future[Any]: ...


Open = Callable[[int, str | None], contextlib.AbstractContextManager[Submit]]
"""Opens a pool of so many children, started in that way; None: in Python's or its own."""


@dataclass(frozen=True)
class Peer:
    """One of the others, and what it says of itself."""

    open: Open
    guarantees: str
    package: str | None = None

    @property
    def missing(self) -> bool:
        return self.package is not None and importlib.util.find_spec(self.package) is None


@contextlib.contextmanager
def _threads(children: int, start: str | None) -> Iterator[Submit]:
    with ThreadPoolExecutor(children) as executor:
        yield executor.submit


@contextlib.contextmanager
def _executor(children: int, start: str | None) -> Iterator[Submit]:
    context = multiprocessing.get_context(start or DEFAULT_START)
    with ProcessPoolExecutor(children, mp_context=context) as executor:
        yield executor.submit


@contextlib.contextmanager
def _multiprocessing_pool(children: int, start: str | None) -> Iterator[Submit]:
    with multiprocessing.get_context(start or DEFAULT_START).Pool(children) as pool:

        def submit(work: Callable[..., Any], *args: Any) -> Future[Any]:
            future: Future[Any] = Future()
            pool.apply_async(work, args, {}, future.set_result, future.set_exception)
            return future

        yield submit


@contextlib.contextmanager
def _pebble(children: int, start: str | None) -> Iterator[Submit]:
    import pebble

    pool = pebble.ProcessPool(children, context=multiprocessing.get_context(start or DEFAULT_START))
    try:
        yield lambda work, *args: pool.schedule(work, args=args)
    finally:
        pool.stop()
        pool.join()


@contextlib.contextmanager
def _loky(children: int, start: str | None) -> Iterator[Submit]:
    import loky

    executor = loky.get_reusable_executor(children, timeout=30)
    try:
        yield executor.submit
    finally:
        executor.shutdown()


# So many calls wait, beside those that run: as many as Piscina is told to take.
MOST_WAITING: Final = 100

# Asked for by name: in a process that was spawned itself the default is to spawn.
DEFAULT_START: Final = multiprocessing.get_all_start_methods()[0]

THREADS: Final = "ThreadPoolExecutor"
EXECUTOR: Final = "ProcessPoolExecutor"
POOL: Final = "multiprocessing.Pool"
PEBBLE: Final = "pebble.ProcessPool"
LOKY: Final = "loky"
PISCINA: Final = "Piscina (Node)"

PEERS: Final = {
    THREADS: Peer(_threads, "memory only; what runs cannot be stopped"),
    EXECUTOR: Peer(
        _executor, "memory only; what runs cannot be stopped; one dead child breaks the pool"
    ),
    POOL: Peer(
        _multiprocessing_pool,
        "memory only; what runs cannot be stopped; nobody hears of what a dead child had",
    ),
    PEBBLE: Peer(
        _pebble, "memory only; cancel kills the child; a death is its own job's", "pebble"
    ),
    LOKY: Peer(
        _loky, "memory only; what runs cannot be stopped; one dead child breaks the pool", "loky"
    ),
}
