"""How many handlers run at once, seen from inside them."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Overlap:
    """Counts who is inside; any thread may enter."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside: Counter[str] = Counter()
        self.most: defaultdict[str, int] = defaultdict(int)

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        with self._lock:
            self._inside[name] += 1
            self.most[name] = max(self.most[name], self._inside[name])
        try:
            yield
        finally:
            with self._lock:
                self._inside[name] -= 1

    def stay(self, name: str) -> None:
        """Be inside long enough for others to come too."""
        with self.inside(name):
            time.sleep(0.05)
