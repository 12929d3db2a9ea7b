"""Takes jobs of some kinds out of a line, past those that this worker has no room for."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from milepost.brokers.bullmq.carrier import MILLISECOND
from milepost.brokers.bullmq.entries import entry_of, job_id_of
from milepost.brokers.bullmq.foundlings import Foundlings
from milepost.brokers.bullmq.scripts import QueueScripts, Scripts
from milepost.brokers.bullmq.waiting import MarkerWait
from milepost.errors import RedisAway
from milepost.jobs.leases import ClaimedJob
from milepost.redis import Link
from milepost.store import adoption, jobs
from milepost.store.database import Database

# So many at the head of a line are looked at for what other programs added.
LOOKED_AT: Final = 50


class Picker:
    """Lets the store say who is next, which knows the kinds.

    BullMQ hands out whatever is next in line. What has no room here would have to go back, and
    would be kept meanwhile from a worker that has.
    """

    def __init__(
        self,
        link: Link,
        scripts: Scripts,
        waiting: MarkerWait,
        database: Database,
        foundlings: Foundlings,
        *,
        worker_id: str,
    ) -> None:
        self._link = link
        self._scripts = scripts
        self._waiting = waiting
        self._database = database
        self._foundlings = foundlings
        self._worker_id = worker_id

    def pick(
        self, queue: str, kinds: Sequence[str], limit: int, lease_for: timedelta
    ) -> list[ClaimedJob] | None:
        """Take up to `limit` jobs; None where BullMQ limits the rate: then it must hand out.

        Raises RedisAway, and then has claimed nothing.
        """
        scripts = self._scripts.of(queue)
        paused, concurrency, rate, active, in_line, heads = self._look(scripts)
        if rate:
            return None
        if paused:
            return []
        if concurrency:
            limit = min(limit, int(concurrency) - active)
        found = self._added_by_others(queue, scripts, kinds, heads)
        claimed: list[ClaimedJob] = []
        if limit > 0:
            clock = self._database.clock
            with self._database.begin() as conn:
                adoption.adopt(conn, clock, found)
                claimed = jobs.claim(
                    conn, clock, queue=queue, kinds=kinds, limit=limit,
                    lease_for=lease_for, worker_id=self._worker_id,
                )  # fmt: skip
        if in_line > len(claimed):
            # It is for others too, and whoever was told has used up their hint.
            self._waiting.pass_on(queue)
        self._show(scripts, claimed, lease_for, hint=in_line > len(claimed))
        return claimed

    def _look(self, scripts: QueueScripts) -> tuple[Any, Any, Any, int, int, list[str]]:
        key = scripts.key
        meta, active, waiting, prioritized, heads, urgent = self._ask(
            [
                ("HMGET", key["meta"], "paused", "concurrency", "max"), ("LLEN", key["active"]),
                ("LLEN", key["wait"]), ("ZCARD", key["prioritized"]),
                ("LRANGE", key["wait"], -LOOKED_AT, -1),
                ("ZRANGE", key["prioritized"], 0, LOOKED_AT - 1),
            ]
        )  # fmt: skip
        return (*meta, active, waiting + prioritized, [*heads, *urgent])

    def _added_by_others(
        self, queue: str, scripts: QueueScripts, kinds: Sequence[str], heads: Sequence[str]
    ) -> list[adoption.Foundling]:
        others = [entry for entry in heads if job_id_of(entry) is None]
        names = self._ask([("HGET", scripts.entry(entry), "name") for entry in others])
        # Only now all of it: it may be large, and what has no room is looked at again and again.
        ours = [entry for entry, name in zip(others, names, strict=True) if name in kinds]
        fields = self._ask([("HGETALL", scripts.entry(entry)) for entry in ours])
        found, _ = self._foundlings.read(queue, dict(zip(ours, fields, strict=True)))
        return found

    def _show(
        self, scripts: QueueScripts, claimed: Sequence[ClaimedJob], lease_for: timedelta, *,
        hint: bool,
    ) -> None:  # fmt: skip
        lock_ms = lease_for // MILLISECOND
        commands = [
            scripts.pick(entry_of(job), token=self._worker_id, lock_ms=lock_ms) for job in claimed
        ]
        if hint:
            commands.append(("ZADD", scripts.key["marker"], 0, "0"))
        try:
            self._link.round_trip(commands)
        except RedisAway:
            # They are claimed. Whoever takes their entries is refused by the store.
            return

    def _ask(self, commands: Sequence[Any]) -> list[Any]:
        replies = self._link.round_trip(commands) if commands else []
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return list(replies)
