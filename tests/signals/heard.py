"""A listener that can be waited for."""

import threading
from collections.abc import Callable

from milepost.signals import Signal, Topic

PATIENCE = 30.0


class Heard:
    """What a listener has heard, in order."""

    def __init__(self) -> None:
        self.signals: list[Signal] = []
        self._changed = threading.Condition()

    def __call__(self, signal: Signal) -> None:
        with self._changed:
            self.signals.append(signal)
            self._changed.notify_all()

    def wait(self, condition: Callable[[list[Signal]], bool]) -> None:
        """Wait until what was heard fulfils a condition."""
        with self._changed:
            fulfilled = self._changed.wait_for(lambda: condition(self.signals), PATIENCE)
        assert fulfilled, f"heard only {self.signals}"

    def wait_for(self, *wanted: Signal) -> None:
        self.wait(lambda signals: all(signal in signals for signal in wanted))

    def wait_for_anything(self, times: int = 1) -> None:
        """Wait for the hint to look in the store; after it a listener is connected."""
        self.wait(lambda signals: signals.count(Signal(Topic.ANYTHING)) >= times)
