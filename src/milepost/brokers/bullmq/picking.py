"""Takes jobs of some kinds out of a line, past those that this worker has no room for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from milepost.brokers.bullmq.carrier import MILLISECOND
from milepost.brokers.bullmq.entries import entry_id, entry_of, job_id_of
from milepost.brokers.bullmq.foundlings import Foundlings
from milepost.brokers.bullmq.scripts import HELD_BACK_MS, QueueScripts, Scripts, due_at
from milepost.brokers.bullmq.waiting import MarkerWait
from milepost.brokers.claiming import claim
from milepost.errors import RedisAway
from milepost.jobs.leases import ClaimedJob
from milepost.redis import Link
from milepost.store import adoption
from milepost.store.database import Database

# So many at the head of a line are looked at for what other programs added.
LOOKED_AT: Final = 1000


# And so many that can only be refused are taken at once: each is read whole.
REFUSED_AT_ONCE: Final = 100
ADOPTED_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Line:
    """What waits in a queue: how much, and of what others added, what has room and what cannot run.

    `fitting` is in the order in which they are to run. `steered`: limits or turns say who is next.
    """

    is_paused: bool
    length: int
    fitting: list[str]
    hopeless: list[str]
    steered: bool = False


class Picker:
    """Lets the store say who is next, which knows the kinds.

    BullMQ hands out whatever is next in line. What has no room here would have to go back, and
    would be kept meanwhile from a worker that has. Beside the choice this does what BullMQ does
    when it hands out: delayed entries that are due become available, and what can only be refused
    is taken.
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

    def look(self, queue: str, kinds: Sequence[str], *, steered: bool = False) -> Line | None:
        """Look who waits; None where BullMQ limits the queue: then it must hand out.

        Where it is steered the limits of the store hold, and not those of BullMQ.
        """
        scripts = self._scripts.of(queue)
        meta, due, *rest = self._read(scripts)
        paused, concurrency, rate = meta
        if (concurrency or rate) and not steered:
            return None
        if due:
            self._ask([scripts.promote(entry) for entry in due])
            _, _, *rest = self._read(scripts)
        waiting, prioritized, heads, urgent, later = rest
        self._waiting.note_due(queue, due_at(float(later[1])) if later else None)
        if paused:
            return Line(is_paused=True, length=0, fitting=[], hopeless=[])
        fitting, hopeless = self._part(scripts, kinds, [*heads, *urgent])
        return Line(
            is_paused=False, length=waiting + prioritized, fitting=fitting,
            hopeless=hopeless[:REFUSED_AT_ONCE], steered=steered,
        )  # fmt: skip

    def take(
        self, queue: str, entries: Sequence[str], lease_for: timedelta
    ) -> dict[str, Sequence[str]]:
        """Take these entries out of the line, with all their fields."""
        scripts, lock_ms = self._scripts.of(queue), lease_for // MILLISECOND
        taken = self._ask(
            [scripts.pick(entry, token=self._worker_id, lock_ms=lock_ms) for entry in entries]
        )
        return self._fields(
            scripts, [entry for entry, was_there in zip(entries, taken, strict=True) if was_there]
        )

    def pick(
        self, queue: str, line: Line, kinds: Sequence[str], limit: int, lease_for: timedelta
    ) -> list[ClaimedJob]:
        """Claim up to `limit` jobs that wait there.

        Raises RedisAway, and then has claimed nothing.
        """
        if line.is_paused:
            return []
        scripts = self._scripts.of(queue)
        # What is held back makes way for what stands behind it.
        looked_at = line.fitting[: max(limit, ADOPTED_AT_ONCE) if line.steered else limit]
        found, _ = self._foundlings.read(queue, self._fields(scripts, looked_at))
        if found:
            with self._database.begin() as conn:
                adoption.adopt(conn, self._database.clock, found)
        taken = claim(
            self._database, queue=queue, kinds=kinds, limit=limit, lease_for=lease_for,
            worker_id=self._worker_id,
        )  # fmt: skip
        self._waiting.note_opening(queue, taken.opens_in)
        if line.steered:
            more = len(taken.jobs) == limit or len(line.fitting) > len(looked_at)
        else:
            more = line.length > len(taken.jobs) + len(line.hopeless)
            if more:
                # It is for others too, and whoever was told has used up their hint.
                self._waiting.pass_on(queue)
        begun = {entry_of(job) for job in taken.jobs}
        held_back = [
            entry for each in found if each.lane for entry in [entry_id(each.broker_id)]
            if entry not in begun
        ]  # fmt: skip
        self._show(scripts, taken.jobs, held_back, lease_for, hint=more)
        return list(taken.jobs)

    def _read(self, scripts: QueueScripts) -> list[Any]:
        key, due = scripts.key, scripts.last_due()
        return self._ask(
            [
                ("HMGET", key["meta"], "paused", "concurrency", "max"),
                ("ZRANGEBYSCORE", key["delayed"], 0, due, "LIMIT", 0, LOOKED_AT),
                ("LLEN", key["wait"]), ("ZCARD", key["prioritized"]),
                ("LRANGE", key["wait"], -LOOKED_AT, -1),
                ("ZRANGE", key["prioritized"], 0, LOOKED_AT - 1),
                ("ZRANGEBYSCORE", key["delayed"], f"({due}", "+inf", "WITHSCORES", "LIMIT", 0, 1),
            ]
        )  # fmt: skip

    def _part(
        self, scripts: QueueScripts, kinds: Sequence[str], heads: Sequence[str]
    ) -> tuple[list[str], list[str]]:
        """Find what other programs added: what has room here, and what cannot run here at all."""
        others = [entry for entry in heads if job_id_of(entry) is None]
        # Only this of them: what has no room may be large, and is looked at again and again.
        seen = self._ask(
            [
                command
                for entry in others
                for key in [scripts.entry(entry)]
                for command in (("HMGET", key, "name", "defa"), ("HSTRLEN", key, "data"))
            ]
        )
        fitting: list[str] = []
        hopeless: list[str] = []
        for entry, (name, failed_child), size in zip(others, seen[::2], seen[1::2], strict=True):
            if failed_child or self._foundlings.refuses(name, size):
                hopeless.append(entry)
            elif name in kinds:
                fitting.append(entry)
        return fitting, hopeless

    def _fields(self, scripts: QueueScripts, entries: Sequence[str]) -> dict[str, Sequence[str]]:
        fields = self._ask([("HGETALL", scripts.entry(entry)) for entry in entries])
        # One without fields was removed meanwhile.
        return {entry: flat for entry, flat in zip(entries, fields, strict=True) if flat}

    def _show(
        self, scripts: QueueScripts, claimed: Sequence[ClaimedJob], held_back: Sequence[str],
        lease_for: timedelta, *, hint: bool,
    ) -> None:  # fmt: skip
        token, lock_ms = self._worker_id, lease_for // MILLISECOND
        begun = [entry_of(job) for job in claimed]
        commands = [
            scripts.pick(entry, token=token, lock_ms=lock_ms) for entry in (*begun, *held_back)
        ]
        commands += [
            scripts.delay(entry, HELD_BACK_MS, token=token, costs=False) for entry in held_back
        ]
        if hint:
            commands.append(scripts.wake())
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
