"""BullMQ's own scripts, as commands that travel together in one round trip.

The scripts come from the `bullmq` package. What their KEYS and ARGV mean stands at their heads
(`bullmq/commands/*.lua`) and in `bullmq.scripts`; a test holds ours against that.
"""

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgpack
from bullmq.queue_keys import QueueKeys
from bullmq.redis_connection import loadScript

from milepost.redis import Command, Link

FILES: Final = {
    "add": "addStandardJob-9.lua",
    "add_prioritized": "addPrioritizedJob-9.lua",
    "add_delayed": "addDelayedJob-6.lua",
    "take": "moveToActive-11.lua",
    "finish": "moveToFinished-14.lua",
    "delay": "moveToDelayed-11.lua",
    "put_back": "moveJobFromActiveToWait-9.lua",
    "promote": "promote-9.lua",
    "reprocess": "reprocessJob-9.lua",
    "remove": "removeJob-2.lua",
    "extend": "extendLocks-1.lua",
    "progress": "updateProgress-3.lua",
    "change_priority": "changePriority-7.lua",
}
_ADD: Final = (
    "wait", "paused", "meta", "id", "completed", "delayed", "active", "events", "marker",
)  # fmt: skip
_ADD_PRIORITIZED: Final = (
    "marker", "meta", "id", "prioritized", "delayed", "completed", "active", "events", "pc",
)  # fmt: skip
_ADD_DELAYED: Final = ("marker", "meta", "id", "delayed", "completed", "events")
MARK: Final = """
if redis.call("EXISTS", KEYS[1]) == 1 then redis.call("HSET", KEYS[1], ARGV[1], ARGV[2]) end
"""
DIFFERING: Final = """
local differing = {}
for i = 1, #ARGV, 2 do
  local seen = redis.call("HMGET", KEYS[1] .. ARGV[i], "name", "finishedOn", "priority")
  if not seen[1] or seen[2] or tonumber(seen[3] or 0) ~= tonumber(ARGV[i + 1]) then
    table.insert(differing, ARGV[i])
  end
end
return differing
"""
PULL_OUT: Final = """
if redis.call("EXISTS", KEYS[1]) == 0 or redis.call("HEXISTS", KEYS[1], "finishedOn") == 1 then
  return 0
end
redis.call("LREM", KEYS[2], 0, ARGV[1])
redis.call("LREM", KEYS[3], 0, ARGV[1])
redis.call("ZREM", KEYS[4], ARGV[1])
redis.call("ZREM", KEYS[5], ARGV[1])
redis.call("LREM", KEYS[6], 0, ARGV[1])
return redis.call("LPUSH", KEYS[6], ARGV[1])
"""
PICK: Final = """
if redis.call("EXISTS", KEYS[1]) == 0 or
  redis.call("LREM", KEYS[2], -1, ARGV[1]) + redis.call("ZREM", KEYS[3], ARGV[1]) +
  redis.call("ZREM", KEYS[4], ARGV[1]) == 0 then
  return 0
end
redis.call("LPUSH", KEYS[5], ARGV[1])
redis.call("SET", KEYS[6], ARGV[2], "PX", ARGV[3])
redis.call("HSET", KEYS[1], "processedOn", ARGV[4])
redis.call("HINCRBY", KEYS[1], "ats", 1)
redis.call("XADD", KEYS[7], "*", "event", "active", "jobId", ARGV[1], "prev", "waiting")
return 1
"""
# The score of a delayed entry: its moment in milliseconds, with room to order those of one moment.
DELAYED_SCORES_PER_MS: Final = 0x1000
# What a limit holds back, or what waits for its turn, stands among the delayed: so long at a time,
# or until the store gives it to a worker, which takes it out.
HELD_BACK_MS: Final = 3_600_000
# With this token a script asks for no lock: for those whom the store has made the judge.
NO_LOCK: Final = "0"


class Scripts:
    """Builds the commands for the queues of one Redis."""

    def __init__(self, link: Link) -> None:
        self._shas = {name: link.script(loadScript(file)) for name, file in FILES.items()}
        self._shas["mark"] = link.script(MARK)
        self._shas["differing"] = link.script(DIFFERING)
        self._shas["pull_out"] = link.script(PULL_OUT)
        self._shas["pick"] = link.script(PICK)
        self._prefix = link.settings.prefix
        self._queues: dict[str, QueueScripts] = {}

    def of(self, queue: str) -> "QueueScripts":
        """The commands for one queue."""
        found = self._queues.get(queue)
        if found is None:
            found = self._queues[queue] = QueueScripts(self._shas, self._prefix, queue)
        return found


class QueueScripts:
    """Builds the commands for one queue. An entry is BullMQ's job, named by its id there."""

    def __init__(self, shas: Mapping[str, str], prefix: str, queue: str) -> None:
        self.key: dict[str, str] = QueueKeys(prefix).getKeys(queue)
        self._base = self.key[""]
        self._shas = shas

    def entry(self, entry: str) -> str:
        """The key of an entry's hash."""
        return f"{self._base}{entry}"

    def lock(self, entry: str) -> str:
        """The key of an entry's lock."""
        return f"{self._base}{entry}:lock"

    def _call(self, script: str, keys: Sequence[str], *args: Any) -> Command:
        names = [self.key.get(key, key) for key in keys]
        return ("EVALSHA", self._shas[script], len(keys), *names, *args)

    def add(
        self, entry: str, name: str, data: str, *,
        timestamp: int, delay: int, priority: int, attempts: int, trace: str | None = None,
    ) -> Command:  # fmt: skip
        """Add an entry; one with that id that is there stays as it is."""
        packed = _pack([self._base, entry, name, timestamp, None, None, None, None, None])
        options: dict[str, Any] = {"jobId": entry, "attempts": attempts}
        if delay:
            options["delay"] = delay
        if priority:
            options["priority"] = priority
        if trace is not None:
            options["tm"] = trace
        args = (packed, data, _pack(options), timestamp)
        if delay:
            return self._call("add_delayed", _ADD_DELAYED, *args)
        if priority:
            return self._call("add_prioritized", _ADD_PRIORITIZED, *args)
        return self._call("add", _ADD, *args)

    def take(self, *, token: str, lock_ms: int) -> Command:
        """Move the next entry to active, with a lock; the reply has its fields and its id."""
        keys = (
            "wait", "active", "prioritized", "events", "stalled", "limiter", "delayed", "paused",
            "meta", "pc", "marker",
        )  # fmt: skip
        return self._call("take", keys, self._base, _now(), _take_options(token, lock_ms))

    def last_due(self) -> int:
        """The highest score of a delayed entry that is due now."""
        return (_now() + 1) * DELAYED_SCORES_PER_MS - 1

    def pick(self, entry: str, *, token: str, lock_ms: int) -> Command:
        """Do for an entry that waits, wherever it stands in line, what `take` does for the next."""
        lines = ("wait", "prioritized", "delayed", "active")
        keys = [
            self.entry(entry), *(self.key[line] for line in lines), self.lock(entry),
            self.key["events"],
        ]  # fmt: skip
        script = self._shas["pick"]
        return ("EVALSHA", script, len(keys), *keys, entry, token, lock_ms, _now())

    def complete(self, entry: str, result: str, *, token: str, keep: int) -> Command:
        """Move an active entry to completed; `result` is JSON."""
        return self._finish(entry, "completed", "returnvalue", result, token, keep, None)

    def fail(
        self, entry: str, reason: str, *,
        token: str, keep: int, fields: Mapping[str, str] | None = None,
    ) -> Command:  # fmt: skip
        """Move an active entry to failed."""
        return self._finish(entry, "failed", "failedReason", reason, token, keep, fields)

    def _finish(
        self, entry: str, target: str, field: str, value: str, token: str, keep: int,
        fields: Mapping[str, str] | None,
    ) -> Command:  # fmt: skip
        keys = (
            "wait", "active", "prioritized", "events", "stalled", "limiter", "delayed", "paused",
            "meta", "pc", target, self.entry(entry), f"{self._base}metrics:{target}", "marker",
        )  # fmt: skip
        options = _finish_options(token, keep)
        args = (entry, _now(), field, value, target, "", self._base, options)
        return self._call("finish", keys, *args, *([_flat(fields)] if fields else []))

    def delay(
        self, entry: str, wait_ms: int, *,
        token: str, costs: bool, fields: Mapping[str, str] | None = None,
    ) -> Command:  # fmt: skip
        """Move an active entry to delayed; `costs`: it counts as an attempt made."""
        keys = (
            "marker", "active", "prioritized", "delayed", self.entry(entry), "events", "meta",
            "stalled", "wait", "limiter", "pc",
        )  # fmt: skip
        return self._call(
            "delay", keys, self._base, str(_now()), entry, token, max(1, wait_ms),
            "0" if costs else "1", _flat(fields) if fields else "", "0",
        )  # fmt: skip

    def put_back(self, entry: str, *, token: str) -> Command:
        """Move an active entry back to the head of the line."""
        keys = (
            "active", "wait", "stalled", "paused", "meta", "limiter", "prioritized", "marker",
            "events",
        )  # fmt: skip
        return self._call("put_back", keys, entry, token, self.entry(entry))

    def promote(self, entry: str) -> Command:
        """Move a delayed entry to the line."""
        keys = (
            "delayed", "wait", "paused", "meta", "prioritized", "active", "pc", "events", "marker",
        )  # fmt: skip
        return self._call("promote", keys, self._base, entry)

    def reprocess(self, entry: str, state: str) -> Command:
        """Move a completed or failed entry to the line again."""
        keys = (
            self.entry(entry), "events", state, "wait", "meta", "active", "marker", "prioritized",
            "pc",
        )  # fmt: skip
        field = "failedReason" if state == "failed" else "returnvalue"
        return self._call("reprocess", keys, entry, "LPUSH", field, state, "0", "0")

    def remove(self, entry: str) -> Command:
        """Remove an entry that has no lock."""
        return self._call("remove", (self.entry(entry), "repeat"), entry, "0", self._base)

    def pull_out(self, entry: str) -> Command:
        """Make an entry active, wherever it stands, unless it has ended or is gone."""
        lines = ("wait", "paused", "prioritized", "delayed", "active")
        keys = [self.entry(entry), *(self.key[line] for line in lines)]
        return ("EVALSHA", self._shas["pull_out"], len(keys), *keys, entry)

    def wake(self) -> Command:
        """Tell a worker that waits that there is something in the queue."""
        return ("ZADD", self.key["marker"], 0, "0")

    def forget(self, entry: str) -> Command:
        """Take an entry that is gone out of the active ones."""
        return ("LREM", self.key["active"], 0, entry)

    def extend(self, entries: Sequence[str], *, token: str, lock_ms: int) -> Command:
        """Extend the locks of entries, all in one call."""
        tokens = _pack([token] * len(entries))
        names = _pack(list(entries))
        return self._call("extend", ("stalled",), self._base, tokens, names, lock_ms)

    def change_priority(self, entry: str, priority: int) -> Command:
        """Give an entry another priority; one that stands in line goes where that stands there."""
        keys = ("wait", "paused", "meta", "prioritized", "active", "pc", "marker")
        return self._call("change_priority", keys, priority, self._base, entry, 0)

    def differing(self, priorities: Mapping[str, int]) -> Command:
        """Which of these entries are not there, have ended, or have another priority."""
        pairs = [each for pair in priorities.items() for each in pair]
        return ("EVALSHA", self._shas["differing"], 1, self._base, *pairs)

    def mark(self, entry: str, field: str, value: str) -> Command:
        """Set a field of an entry, if it is there: half an entry would keep a whole one away."""
        return ("EVALSHA", self._shas["mark"], 1, self.entry(entry), field, value)

    def progress(self, entry: str, progress: str) -> Command:
        """Note an entry's progress, as JSON."""
        return self._call("progress", (self.entry(entry), "events", "meta"), entry, progress)


# The same few, thousands of times a second.


@lru_cache(maxsize=256)
def _take_options(token: str, lock_ms: int) -> bytes:
    return _pack({"token": token, "lockDuration": lock_ms, "limiter": None})


@lru_cache(maxsize=256)
def _finish_options(token: str, keep: int) -> bytes:
    return _pack(
        {
            "token": token,
            "keepJobs": {"count": keep},
            "limiter": None,
            "lockDuration": None,
            # The store has counted: whatever fails here is past its last attempt.
            "attempts": 0,
            "attemptsMade": 0,
            "maxMetricsSize": "",
            "fpof": False,
            "cpof": False,
            "idof": False,
            "rdof": False,
        }
    )


def due_at(score: float) -> float:
    """When a delayed entry with this score is due, in seconds of time.time()."""
    return score // DELAYED_SCORES_PER_MS / 1000


def _flat(fields: Mapping[str, str]) -> bytes:
    return _pack([text for pair in fields.items() for text in pair])


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def _now() -> int:
    return round(time.time() * 1000)
