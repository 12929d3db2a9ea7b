"""Whoever is told of events."""

import logging
from collections.abc import Iterable
from typing import Final

from milepost.jobs.events import Event, Observer

logger: Final = logging.getLogger("milepost.worker")


class Observers:
    """Tells each event to all; one that breaks hurts nobody. Called in any thread."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = tuple(observers)

    def add(self, observer: Observer) -> None:
        """Tell one more, from now on."""
        # A new tuple: others may be telling the old one just now.
        self._observers = (*self._observers, observer)

    def __call__(self, event: Event) -> None:
        """Tell all."""
        for observer in self._observers:
            try:
                observer(event)
            except Exception:
                logger.exception("an observer failed on %s", type(event).__name__)
