"""Claims where limits hold, or where owners take turns.

A limit's row is locked by whoever claims under it, and what runs is counted only then, from the
jobs themselves: so no two claims take the same room, and what died frees its place by the rescue
that every job has. Statements that end attempts need no lock, since they only make room.

All of a transaction's locks are taken at once, in the order of their keys. What is chosen before,
without locks, may be gone by then: whoever gets too little asks again, in a new transaction.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Connection,
    Float,
    Integer,
    Select,
    Text,
    bindparam,
    func,
    literal,
    select,
    text,
    update,
)

from milepost.jobs.leases import ClaimedJob, JobId
from milepost.jobs.limits import PLAIN, HeldLimit, read_lane
from milepost.jobs.turns import Choice, Room, Starts, Waiting, choose, turn_of
from milepost.store import jobs, limits
from milepost.store.batches import batch, rows
from milepost.store.clock import Clock
from milepost.store.tables import jobs as table
from milepost.store.tables import limits as states
from milepost.store.upserts import insert_into


@dataclass(frozen=True, slots=True)
class Taken:
    """What a claim took. `again`: ask at once, there may be more; `opens_in`: ask after so long."""

    jobs: Sequence[ClaimedJob]
    again: bool = False
    opens_in: timedelta | None = None


def claim(
    conn: Connection,
    clock: Clock,
    *,
    queue: str,
    kinds: Sequence[str],
    limit: int,
    lease_for: timedelta,
    worker_id: str,
) -> Taken:
    """Take available jobs of a queue whose limits have room, in their turns; as `jobs.claim`."""
    # What begins from now on begins later than this, whatever it waits for.
    now, of_queue = limits.held(conn, clock, queue)
    lanes = _lanes(conn, queue, kinds, limit)
    if not lanes:
        return Taken(())
    room = _room(conn, now, queue, lanes, of_queue)
    open_, opens_at = _part(lanes, room, of_queue)
    lanes = _filled(conn, queue, open_, limit)
    chosen = choose(lanes, room, of_queue, limit)
    opens_in = None if opens_at is None else timedelta(seconds=max(0.0, opens_at - room.now))
    if not chosen.jobs:
        return Taken((), opens_in=opens_in)
    lanes = [each for each in lanes if each.name in {name for name, _ in chosen.jobs}]
    if not _lock(conn, queue, lanes, of_queue):
        return Taken((), again=True)
    lanes = _read_again(conn, queue, kinds, lanes, chosen)
    room = _room(conn, now, queue, lanes, of_queue)
    sure = choose(lanes, room, of_queue, limit)
    taken = jobs.claim_these(
        conn, clock, [job_id for _, job_id in sure.jobs], kinds=kinds, lease_for=lease_for,
        worker_id=worker_id, steered=True,
    )  # fmt: skip
    _note(conn, queue, room, sure, taken, of_queue)
    # Others were faster, or there is more than was looked at. A job that was not given is a
    # suspect's, or somebody has just changed it: asking again at once would bring nothing else.
    overtaken = len(sure.jobs) < len(chosen.jobs)
    # And where a rate was used up, only another look says when it opens again.
    rated = any(limit.per is not None for limit in _held(lanes, of_queue))
    again = bool(taken) and len(taken) < limit and (overtaken or chosen.cut or rated)
    return Taken(taken, again=again or (overtaken and not sure.jobs), opens_in=opens_in)


def _lanes(conn: Connection, queue: str, kinds: Sequence[str], most: int) -> list[Waiting]:
    """Find the first job of each lane, by as many steps through the index as there are lanes."""
    found = conn.execute(_heads(), {"queue_": queue}).all()
    lanes = [Waiting(row.lane, read_lane(row.lane), [(row.priority, row.id)]) for row in found]
    if first := _first_plain(conn, queue, kinds, most):
        lanes.append(Waiting(PLAIN, None, first, more=len(first) == most))
    return [each for each in lanes if each.lane is None or each.lane.kind in kinds]


def _first_plain(
    conn: Connection, queue: str, kinds: Sequence[str], most: int
) -> list[tuple[int, JobId]]:
    given = {"queue_": queue, "kinds": kinds, "most": most}
    return [(row.priority, row.id) for row in conn.execute(_plain(), given)]


@lru_cache
def _plain() -> Select[Any]:
    return _first(PLAIN).where(table.c.kind.in_(bindparam("kinds", expanding=True)))


@lru_cache
def _heads() -> Select[Any]:
    """Spell a walk from lane to lane: each step finds the first job past the lane before."""
    queue = bindparam("queue_", type_=Text())

    def first_past(lane: Any) -> Any:
        each = table.alias("each")
        return (
            select(each.c.id)
            .where(each.c.queue == queue, text("each.state = 'available'"), each.c.lane > lane)
            .order_by(each.c.queue, each.c.lane, each.c.priority, each.c.id)
            .limit(1)
            .scalar_subquery()
        )

    columns = (table.c.lane, table.c.priority, table.c.id)
    walk = select(*columns).where(table.c.id == first_past(PLAIN)).cte("walk", recursive=True)
    walk = walk.union_all(
        select(*columns).join_from(
            walk, table, table.c.id == first_past(walk.c.lane).correlate(walk)
        )
    )
    return select(walk.c.lane, walk.c.priority, walk.c.id)


def _room(
    conn: Connection,
    now: float,
    queue: str,
    lanes: Sequence[Waiting],
    of_queue: Sequence[HeldLimit],
) -> Room:
    """Count what runs, and read what began when. Once locked, nothing of it grows any more."""
    running: Counter[str] = Counter()
    for row in conn.execute(_running(), {"queue_": queue}).all():
        keys = {limit.key for limit in read_lane(row.lane).limits} if row.lane else set()
        if row.queue == queue:
            keys |= {limit.key for limit in of_queue}
        running.update(dict.fromkeys(keys, row.jobs))
    starts: dict[str, Starts] = {}
    served: dict[str, float] = {}
    known = conn.execute(
        _known(conn.dialect.name),
        rows([{"key": key} for key in _keys(queue, lanes, of_queue)]),
    ).all()
    for row in known:
        served[row.key] = row.served_at
        if row.starts:
            starts[row.key] = Starts([(at, count) for at, count in json.loads(row.starts)])
    turns = {
        turn: served.get(limits.turn_key(queue, turn), 0.0)
        for each in lanes
        if (turn := turn_of(each)) is not None
    }
    return Room(now, running, starts, turns)


@lru_cache
def _running() -> Select[Any]:
    return (
        select(table.c.queue, table.c.lane, func.count().label("jobs"))
        .where(
            text("lease_expires_at IS NOT NULL"),
            text("state = 'running'"),
            (table.c.lane > PLAIN) | (table.c.queue == bindparam("queue_", type_=Text())),
        )
        .group_by(table.c.queue, table.c.lane)
    )


@lru_cache
def _known(dialect: str) -> Select[Any]:
    named = batch(dialect, {"key": Text})
    return select(states).join_from(named, states, states.c.key == named.c.key)


def _held(lanes: Sequence[Waiting], of_queue: Sequence[HeldLimit]) -> set[HeldLimit]:
    return {*of_queue, *(limit for each in lanes if each.lane for limit in each.lane.limits)}


def _keys(queue: str, lanes: Sequence[Waiting], of_queue: Sequence[HeldLimit]) -> list[str]:
    """Name the rows that stand for all of this, in the order in which they are locked."""
    keys = {limit.key for limit in _held(lanes, of_queue)}
    keys |= {limits.turn_key(queue, turn) for each in lanes if (turn := turn_of(each)) is not None}
    return sorted(keys)


def _part(
    lanes: Sequence[Waiting], room: Room, of_queue: Sequence[HeldLimit]
) -> tuple[list[Waiting], float | None]:
    """Keep the lanes that have room, and say when time alone opens another."""
    open_: list[Waiting] = []
    opens: list[float] = []
    for each in lanes:
        held = [*of_queue, *(() if each.lane is None else each.lane.limits)]
        if room.left(held) > 0:
            open_.append(each)
        elif (at := room.opens_at(held)) is not None and at > room.now:
            opens.append(at)
    return open_, min(opens, default=None)


def _filled(conn: Connection, queue: str, lanes: Sequence[Waiting], most: int) -> list[Waiting]:
    """Read on in the lanes that may bring a job: no more of them than jobs are wanted."""
    turns_first = sorted(lanes, key=lambda each: each.jobs[0])
    steered = [each for each in turns_first if each.lane is not None]
    if len(steered) > most and not any(turn_of(each) for each in steered):
        steered = steered[:most]
    share = min(most, 2 * -(-most // max(1, len(steered))))
    if share > 1 and steered:
        found = _first_of(conn, queue, [each.name for each in steered], share)
        steered = [
            replace(
                each, jobs=found.get(each.name, ()), more=len(found.get(each.name, ())) == share
            )
            for each in steered
        ]
    else:
        steered = [replace(each, more=True) for each in steered]
    return [*steered, *(each for each in lanes if each.lane is None)]


def _read_again(
    conn: Connection,
    queue: str,
    kinds: Sequence[str],
    lanes: Sequence[Waiting],
    chosen: Choice,
) -> list[Waiting]:
    """Read who is first by now: others may have taken who was."""
    most = max(Counter(name for name, _ in chosen.jobs).values())
    found = _first_of(conn, queue, [each.name for each in lanes if each.lane], most)
    if any(each.lane is None for each in lanes):
        found[PLAIN] = _first_plain(conn, queue, kinds, most)
    return [
        replace(each, jobs=first, more=len(first) == most)
        for each in lanes
        for first in [found.get(each.name, [])]
    ]


def _first_of(
    conn: Connection, queue: str, lanes: Sequence[str], most: int
) -> dict[str, list[tuple[int, JobId]]]:
    found: dict[str, list[tuple[int, JobId]]] = {}
    given = {"queue_": queue, "most": most}
    if conn.dialect.name == "sqlite":
        # It is in this process, and knows no LATERAL.
        for lane in lanes:
            read = conn.execute(_first_of_one(), {**given, "lane_": lane}).all()
            found[lane] = [(row.priority, row.id) for row in read]
        return found
    for row in conn.execute(_first_of_each(), {**given, **rows([{"lane": x} for x in lanes])}):
        found.setdefault(row.lane, []).append((row.priority, row.id))
    return {lane: sorted(each) for lane, each in found.items()}


@lru_cache
def _first_of_one() -> Select[Any]:
    return _first(bindparam("lane_", type_=Text()))


@lru_cache
def _first_of_each() -> Select[Any]:
    named = batch("postgresql", {"lane": Text})
    first = _first(named.c.lane.collate("C")).lateral("first")
    return select(named.c.lane, first.c.priority, first.c.id).join_from(
        named, first, literal(1) == 1
    )


def _first(lane: Any) -> Select[Any]:
    return (
        select(table.c.priority, table.c.id)
        .where(
            table.c.queue == bindparam("queue_", type_=Text()), text("state = 'available'"),
            table.c.lane == lane,
        )
        .order_by(table.c.priority, table.c.id)
        .limit(bindparam("most", type_=Integer()))
    )  # fmt: skip


def _lock(
    conn: Connection, queue: str, lanes: Sequence[Waiting], of_queue: Sequence[HeldLimit]
) -> bool:
    """Lock the rows of these lanes; False where one was deleted meanwhile."""
    keys = _keys(queue, lanes, of_queue)
    named = rows([{"key": key} for key in keys])
    conn.execute(_make(conn.dialect.name), named)
    return len(conn.execute(_locking(conn.dialect.name), named).all()) == len(keys)


@lru_cache
def _locking(dialect: str) -> Select[Any]:
    named = batch(dialect, {"key": Text})
    return (
        select(states.c.key)
        .where(states.c.key.in_(select(named.c.key)))
        .order_by(states.c.key)
        .with_for_update()
    )


@lru_cache
def _make(dialect: str) -> Any:
    given = batch(dialect, {"key": Text})
    made = select(given.c.key, literal(0.0)).where(text("1 = 1")).order_by(given.c.key)
    inserting = insert_into(dialect, states).from_select(["key", "served_at"], made)
    return inserting.on_conflict_do_nothing()


def _note(
    conn: Connection,
    queue: str,
    room: Room,
    chosen: Choice,
    taken: Sequence[ClaimedJob],
    of_queue: Sequence[HeldLimit],
) -> None:
    """Write what has begun under rates, and whose turn it was."""
    if not taken:
        return
    order = {job_id: number for number, (_, job_id) in enumerate(chosen.jobs)}
    # By the clock of the claim itself, which came after `room.now`.
    began = max(job.started_at for job in taken).timestamp()
    begun: Counter[HeldLimit] = Counter()
    served: dict[str, float] = {}
    for job in taken:
        lane = read_lane(job.lane) if job.lane else None
        begun.update([*of_queue, *(lane.limits if lane else ())])
        if lane is not None and lane.turn is not None:
            turn = limits.turn_key(queue, lane.turn)
            # A batch is taken one after the other.
            at = room.now + order[job.lease.job_id] * 1e-6
            served[turn] = max(served.get(turn, 0.0), at)
    changed: dict[str, dict[str, Any]] = {
        key: {"key": key, "starts": None, "served_at": at} for key, at in served.items()
    }
    for limit, count in begun.items():
        if limit.per is not None:
            starts = room.starts.setdefault(limit.key, Starts())
            starts.add(limit, began, count)
            changed[limit.key] = {
                "key": limit.key, "starts": json.dumps(starts.at), "served_at": began,
            }  # fmt: skip
        else:
            changed.setdefault(limit.key, {"key": limit.key, "starts": None, "served_at": began})
    conn.execute(_write(conn.dialect.name), rows(list(changed.values())))


@lru_cache
def _write(dialect: str) -> Any:
    given = batch(dialect, {"key": Text, "starts": Text, "served_at": Float})
    return (
        update(states)
        .where(states.c.key == given.c.key)
        .values(starts=func.coalesce(given.c.starts, states.c.starts), served_at=given.c.served_at)
    )
