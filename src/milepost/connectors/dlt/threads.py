"""A thread of its own for what must all happen on one thread, and may take long."""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class OwnThread:
    """Does one thing after another; begun by the first.

    A wait that is cancelled does not stop what runs: that ends by itself, unheard, and then what
    was given to `close`. It keeps no program alive.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._works: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Do this next, and wait for what it returns."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            self._thread.start()
        answer: Future[Answer] = Future()
        self._works.put(lambda: _answer(answer, work))
        return await asyncio.wrap_future(answer)

    def close(self, work: Callable[[], object] = lambda: None) -> None:
        """Do this as the last thing; nobody waits for it."""
        ignored: Future[object] = Future()
        self._works.put(lambda: _answer(ignored, work))
        self._works.put(None)

    def _serve(self) -> None:
        while (work := self._works.get()) is not None:
            work()


def _answer(answer: Future[Any], work: Callable[[], Any]) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    try:
        answer.set_result(work())
    except BaseException as error:  # noqa: BLE001 (whatever a source raises is for who waits)
        answer.set_exception(error)
