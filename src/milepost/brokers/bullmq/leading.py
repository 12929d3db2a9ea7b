"""One worker at a time does what would be wasted twice."""

from datetime import timedelta
from typing import Final

from milepost.brokers.bullmq.carrier import MILLISECOND
from milepost.redis import Link

LEADS_FOR: Final = timedelta(seconds=5)


class Lead:
    """A key in Redis that names the worker that leads; whoever stops asking loses it."""

    def __init__(self, link: Link, key: str, worker_id: str) -> None:
        self._link = link
        self._key = key
        self._worker_id = worker_id

    def take(self) -> bool:
        """Take or keep the lead; False: another worker has it. Raises RedisAway."""
        ms = LEADS_FOR // MILLISECOND
        _, leader = self._link.round_trip(
            [("SET", self._key, self._worker_id, "NX", "PX", ms), ("GET", self._key)]
        )
        if leader != self._worker_id:
            return False
        self._link.call("PEXPIRE", self._key, ms)
        return True

    def give_up(self) -> None:
        """Let another worker lead. Raises RedisAway."""
        if self._link.call("GET", self._key) == self._worker_id:
            self._link.call("DEL", self._key)
