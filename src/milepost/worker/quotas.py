"""How much of a queue a worker takes: nothing that it could not begin."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from milepost.jobs.leases import ClaimedJob
from milepost.jobs.registry import AnyDefinition, Registry
from milepost.pools import UNBOUNDED, Pool
from milepost.worker.board import Board


@dataclass(frozen=True, slots=True)
class Quota:
    """What to ask of a queue; `full` where nothing has room that is known to come from there.

    `rooms` is that of the pools. A pool's room may shrink while the queue is asked, and what has
    been claimed by then would only come later elsewhere.
    """

    limit: int
    without: frozenset[str]
    full: bool
    rooms: Mapping[Pool, int] = field(default_factory=dict, compare=False)


class Quotas:
    """The limits of kinds, queues and pools, beside what runs just now; what is paused has no room.

    A claim knows no limit of each kind, so its own is that of the kind with the least room.
    Kinds without any are left out of it.
    """

    def __init__(
        self,
        board: Board,
        registry: Registry,
        pool_for: Callable[[AnyDefinition], Pool],
        *,
        queue_concurrency: Iterable[tuple[str, int]],
        blocked_after: timedelta,
    ) -> None:
        self.paused: frozenset[str] = frozenset()
        self.paused_kinds: frozenset[str] = frozenset()
        self._board = board
        self._blocked_after = blocked_after
        definitions = [each for each in registry if each.runs_here]
        self._pools = {each.kind: pool_for(each) for each in definitions}
        self._most_of_kind = {
            each.kind: each.concurrency for each in definitions if each.concurrency is not None
        }
        self._most_of_queue = dict(queue_concurrency)
        # A job may be submitted to any queue. Where a kind may come from shows when it does.
        self._known: defaultdict[str, set[str]] = defaultdict(set)
        for each in definitions:
            self._known[each.queue].add(each.kind)
        # Queues that may hold more than they were asked for, and what they were asked for.
        self._put_off: dict[str, Quota] = {}

    def of(self, queue: str) -> Quota:
        """What to ask of a queue now."""
        free, left = self._board.free(), self._left_of_queue(queue)
        pools = self._rooms_of_pools()
        rooms = self._rooms(pools)
        without = frozenset(kind for kind, room in rooms.items() if room <= 0)
        known = self._known[queue]
        if left <= 0 or len(without) == len(self._pools):
            return Quota(0, without, full=True, rooms=pools)
        if known and known <= without:
            # For what was never seen there one look is enough, and takes little out of its place.
            return Quota(min(free, 1), without, full=True, rooms=pools)
        least = min((rooms[kind] for kind in rooms.keys() & known - without), default=left)
        return Quota(min(free, left, least), without, full=False, rooms=pools)

    def admit(
        self, queue: str, asked: Quota, jobs: Sequence[ClaimedJob]
    ) -> tuple[Sequence[ClaimedJob], Sequence[ClaimedJob]]:
        """Part what was claimed into what can begin, and what has no room after all.

        The first jobs of a kind in a queue may be too many.
        """
        self._known[queue].update(job.kind for job in jobs)
        kinds, pools = self._rooms_of_kinds(), dict(asked.rooms)
        if not kinds and all(room >= len(jobs) for room in pools.values()):
            return jobs, ()
        fitting: list[ClaimedJob] = []
        too_many: list[ClaimedJob] = []
        for job in jobs:
            pool = self._pools[job.kind]
            room = min(pools[pool], kinds.get(job.kind, UNBOUNDED))
            if room <= 0:
                too_many.append(job)
                continue
            fitting.append(job)
            pools[pool] -= 1
            if job.kind in kinds:
                kinds[job.kind] -= 1
        return fitting, too_many

    def note(self, queue: str, asked: Quota, brought: int) -> bool:
        """Note how many jobs a queue had; whether to ask it again at once.

        Call it when they have begun. `freed` tells of what waits for room.
        """
        now = asked
        if 0 < brought == asked.limit:
            now = self.of(queue)
            if not now.full:
                return True
        if now.full or now.without & self._known[queue]:
            self._put_off[queue] = now
        else:
            self._put_off.pop(queue, None)
        return False

    def freed(self) -> list[str]:
        """Queues that have been put off and now have room for more; tells of each once."""
        freed = [queue for queue, asked in self._put_off.items() if self._has_room(queue, asked)]
        for queue in freed:
            del self._put_off[queue]
        return freed

    def is_full(self, queue: str) -> bool:
        """Whether a queue has been put off altogether; may be asked from any thread."""
        asked = self._put_off.get(queue)
        return asked is not None and asked.full

    def _has_room(self, queue: str, asked: Quota) -> bool:
        now = self.of(queue)
        if now.full:
            return False
        return asked.full or bool((asked.without - now.without) & self._known[queue])

    def _left_of_queue(self, queue: str) -> int:
        if queue in self.paused:
            return 0
        most = self._most_of_queue.get(queue)
        if most is None:
            return UNBOUNDED
        return most - sum(attempt.job.queue == queue for attempt in self._board.at_work())

    def _rooms(self, pools: Mapping[Pool, int]) -> dict[str, int]:
        """The room of each kind that has a limit: its own, or that of its pool."""
        rooms = {kind: pools[pool] for kind, pool in self._pools.items() if pools[pool] < UNBOUNDED}
        for kind, room in self._rooms_of_kinds().items():
            rooms[kind] = min(room, rooms.get(kind, room))
        return rooms | dict.fromkeys(self.paused_kinds & self._pools.keys(), 0)

    def _rooms_of_pools(self) -> dict[Pool, int]:
        return {
            # Nobody knows when a pool goes on that a handler blocks.
            pool: pool.room() if pool.blocked(self._blocked_after) is None else 0
            for pool in set(self._pools.values())
        }

    def _rooms_of_kinds(self) -> dict[str, int]:
        if not self._most_of_kind:
            return {}
        running = Counter(attempt.job.kind for attempt in self._board.at_work())
        return {kind: most - running[kind] for kind, most in self._most_of_kind.items()}
