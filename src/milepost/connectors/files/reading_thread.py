"""Runs calls that block, without anybody having to wait for the last of them."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")


class ReadingThread:
    """One thread, which runs its calls one after the other.

    `asyncio.to_thread` would do, were it not for its end: a program waits for those threads before
    it exits, also for one that hangs in a read.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, call: Callable[..., Result], *args: Any) -> Result:
        """Run a call there; cancelling gives up waiting for it."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="reads a file", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()

        def settle(result: Result | None, error: BaseException | None) -> None:
            if done.cancelled():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type]

        def called() -> None:
            result, raised = None, None
            try:
                result = call(*args)
            except BaseException as error:  # noqa: BLE001 (raised where it is awaited)
                raised = error
            # The loop may have ended meanwhile.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, result, raised)

        self._calls.put(called)
        return await done

    def end(self, last: Callable[[], object]) -> None:
        """Make one more call when all others are done, and end; waits for nothing."""
        if self._thread is not None:
            self._calls.put(last)
            self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
