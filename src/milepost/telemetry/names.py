"""Keeps labels bounded: people may name any queue."""

import threading
from collections.abc import Iterable
from typing import Final

OTHER: Final = "other"


class Names:
    """Which names have metrics of their own: those that are known, and the first `most` others.

    A name that has them keeps them, so that no counter ever goes backwards.
    """

    def __init__(self, known: Iterable[str], *, most: int) -> None:
        self._names = set(known)
        self._most = len(self._names) + most
        self._lock = threading.Lock()

    @property
    def known(self) -> frozenset[str]:
        """Those that have metrics of their own by now."""
        with self._lock:
            return frozenset(self._names)

    def of(self, name: str) -> str:
        """The name itself, or OTHER."""
        # Without the lock first: the names only grow.
        if name in self._names:
            return name
        with self._lock:
            if len(self._names) < self._most:
                self._names.add(name)
            return name if name in self._names else OTHER
