"""Listeners inside one process."""

import logging
import threading
from collections.abc import Callable

from milepost.signals.signal import Listener, Signal

logger = logging.getLogger("milepost.signals")


class Hub:
    """Hands signals to the listeners of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: tuple[Listener, ...] = ()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Add a listener; returns what removes it."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def end() -> None:
            with self._lock:
                self._listeners = tuple(x for x in self._listeners if x is not listener)

        return end

    def deliver(self, signal: Signal) -> None:
        """Call every listener; one that fails does not keep the others from hearing."""
        for listener in self._listeners:
            try:
                listener(signal)
            except RuntimeError:
                # Its event loop closed between the look-up and the call.
                logger.debug("a listener is gone", exc_info=True)
            except Exception:
                logger.exception("a listener failed")
