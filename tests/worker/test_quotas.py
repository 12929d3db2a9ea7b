"""What to ask of a queue, from what runs and what is limited."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, cast

import pytest

from milepost import JobDefinition
from milepost.jobs.leases import ClaimedJob, Lease
from milepost.jobs.registry import Registry
from milepost.pools import UNBOUNDED, Attempt, Blocked, Pool, Surroundings
from milepost.worker.board import Board
from milepost.worker.quotas import Quota, Quotas

SLOTS = 10
_ids = count(1)


class Room:
    """As much of a pool as quotas look at."""

    def __init__(self) -> None:
        self.left = UNBOUNDED
        self.is_blocked = False

    def room(self) -> int:
        return self.left

    def blocked(self, longer_than: timedelta) -> Blocked | None:
        return Blocked(None, "here", longer_than) if self.is_blocked else None


def kind(name: str, *, queue: str = "default", concurrency: int | None = None) -> Any:
    def work(ctx: object, args: None) -> None: ...

    return JobDefinition(
        name, args=type(None), checkpoint=type(None), result=type(None), handler=work,
        queue=queue, concurrency=concurrency,
    )  # fmt: skip


class Desk:
    """Quotas of a worker with ten slots, and what runs there."""

    def __init__(self, *definitions: Any, **queue_concurrency: int) -> None:
        self.registry = Registry(definitions)
        self.board = Board(SLOTS)
        self.threads, self.processes = Room(), Room()
        self.quotas = Quotas(
            self.board, self.registry,
            lambda each: cast(
                "Pool", self.processes if each.kind.startswith("process") else self.threads
            ),
            queue_concurrency=tuple(queue_concurrency.items()),
            blocked_after=timedelta(seconds=1),
        )  # fmt: skip

    def job(self, kind: str, queue: str = "default") -> ClaimedJob:
        now = datetime.now(UTC)
        return ClaimedJob(Lease(next(_ids), 1), kind, queue, "null", None, 0, 3, None, None, now)

    def run(self, *jobs: ClaimedJob) -> None:
        for each in jobs:
            attempt = Attempt(each, self.registry[each.kind], cast("Surroundings", None))
            self.board.running[each.lease] = attempt

    def end(self, job: ClaimedJob) -> None:
        del self.board.running[job.lease]

    def leave_behind(self, job: ClaimedJob) -> None:
        self.board.left_behind.add(self.board.running.pop(job.lease))

    def ask(self, queue: str, jobs: Sequence[ClaimedJob]) -> bool:
        """One round of a worker's: ask, begin what came, note it."""
        asked = self.quotas.of(queue)
        assert len(jobs) <= asked.limit
        fitting, _ = self.quotas.admit(queue, asked, jobs)
        self.run(*fitting)
        return self.quotas.note(queue, asked, len(jobs))


def open_quota(limit: int, *without: str) -> Quota:
    return Quota(limit, frozenset(without), full=False)


def full_quota(limit: int, *without: str) -> Quota:
    return Quota(limit, frozenset(without), full=True)


def test_without_limits_a_queue_is_asked_for_the_free_slots() -> None:
    desk = Desk(kind("a"))
    assert desk.quotas.of("default") == open_quota(SLOTS)
    desk.run(desk.job("a"))
    assert desk.quotas.of("default") == open_quota(SLOTS - 1)
    assert desk.quotas.of("a queue of no definition") == open_quota(SLOTS - 1)


def test_a_claim_asks_for_no_more_than_the_kind_with_the_least_room_takes() -> None:
    desk = Desk(kind("a", concurrency=3), kind("b"), kind("c", queue="other", concurrency=2))
    desk.run(desk.job("a"))
    assert desk.quotas.of("default") == open_quota(2)
    assert desk.quotas.of("other") == open_quota(2)


def test_a_kind_without_room_is_left_out_of_the_claim() -> None:
    desk = Desk(kind("a", concurrency=1), kind("b"))
    desk.run(desk.job("a"))
    assert desk.quotas.of("default") == open_quota(9, "a")
    # Wherever: it may have been submitted there.
    assert desk.quotas.of("other") == open_quota(9, "a")


def test_a_queue_of_nothing_but_kinds_without_room_is_full_but_for_one_look() -> None:
    desk = Desk(kind("a", concurrency=1), kind("b", queue="other"))
    desk.run(desk.job("a"))
    assert desk.quotas.of("default") == full_quota(1, "a")
    desk.quotas.admit("default", desk.quotas.of("default"), [desk.job("b")])
    assert desk.quotas.of("default") == open_quota(9, "a")


def test_no_queue_is_asked_where_no_kind_has_room() -> None:
    desk = Desk(kind("a", concurrency=1))
    desk.run(desk.job("a"))
    assert desk.quotas.of("default") == full_quota(0, "a")
    assert desk.quotas.of("other") == full_quota(0, "a")


def test_a_queue_has_room_of_its_own() -> None:
    desk = Desk(kind("a"), default=2)
    assert desk.quotas.of("default") == open_quota(2)
    desk.run(desk.job("a"), desk.job("a", "other"))
    assert desk.quotas.of("default") == open_quota(1)
    desk.run(desk.job("a"))
    assert desk.quotas.of("default") == full_quota(0)
    assert desk.quotas.of("other") == open_quota(7)


@pytest.mark.parametrize("blocked", [False, True])
def test_a_pool_without_room_leaves_all_its_kinds_out(blocked: bool) -> None:
    desk = Desk(kind("a"), kind("process-a"), kind("process-b", queue="other"))
    desk.processes.left = 3
    assert desk.quotas.of("default") == open_quota(3)
    desk.processes.left = 3 if blocked else 0
    desk.processes.is_blocked = blocked
    assert desk.quotas.of("default") == open_quota(SLOTS, "process-a", "process-b")
    assert desk.quotas.of("other") == full_quota(1, "process-a", "process-b")


def test_what_is_too_many_after_all_does_not_begin() -> None:
    desk = Desk(kind("a", concurrency=2), kind("b"), kind("process-a"), kind("process-b"))
    desk.processes.left = 1
    jobs = [
        desk.job(each, "other")
        for each in ("a", "a", "a", "b", "process-a", "process-b", "process-a", "b")
    ]
    fitting, too_many = desk.quotas.admit("other", desk.quotas.of("other"), jobs)
    assert fitting == [jobs[0], jobs[1], jobs[3], jobs[4], jobs[7]]
    assert too_many == [jobs[2], jobs[5], jobs[6]]
    # And it is known from now on that they come from there.
    assert desk.quotas.of("other").limit == 1


def test_what_there_was_room_for_when_the_queue_was_asked_begins() -> None:
    desk = Desk(kind("process-a"), kind("process-b", queue="other"))
    desk.processes.left = 2
    asked = desk.quotas.of("default")
    desk.processes.left = 1
    jobs = [desk.job("process-a") for _ in range(3)]
    assert desk.quotas.admit("default", asked, jobs) == (jobs[:2], jobs[2:])


def test_a_handler_that_was_left_behind_counts_for_its_kind_and_its_queue() -> None:
    desk = Desk(kind("a", concurrency=1), kind("b"), default=3)
    stuck = desk.job("a")
    desk.run(stuck)
    desk.leave_behind(stuck)
    assert desk.quotas.of("default") == open_quota(2, "a")


def test_a_queue_that_gave_all_that_was_asked_for_is_asked_again() -> None:
    desk = Desk(kind("a"))
    assert desk.ask("default", [desk.job("a") for _ in range(SLOTS)])
    assert not desk.ask("default", [])
    assert desk.quotas.freed() == []


def test_a_full_queue_is_asked_again_when_there_is_room_and_not_before() -> None:
    desk = Desk(kind("a", concurrency=2), kind("b", queue="other"))
    jobs = [desk.job("a"), desk.job("a")]
    assert not desk.ask("default", jobs)
    assert desk.quotas.is_full("default")
    assert desk.quotas.freed() == []
    desk.end(jobs[0])
    assert desk.quotas.freed() == ["default"]
    assert not desk.quotas.is_full("default")
    assert desk.quotas.freed() == []


def test_a_queue_is_asked_again_when_a_kind_that_was_left_out_has_room() -> None:
    desk = Desk(kind("a", concurrency=1), kind("b"), kind("c", queue="other", concurrency=1))
    a, b, c = desk.job("a"), desk.job("b"), desk.job("c", "other")
    desk.run(a, b, c)
    assert not desk.ask("default", [])
    assert not desk.quotas.is_full("default")
    desk.end(b)
    desk.end(c)
    # Neither was what the queue still may hold.
    assert desk.quotas.freed() == []
    desk.end(a)
    assert desk.quotas.freed() == ["default"]


def test_room_that_comes_while_a_queue_is_asked_counts() -> None:
    desk = Desk(kind("a", concurrency=1), kind("b"))
    running = desk.job("a")
    desk.run(running)
    asked = desk.quotas.of("default")
    desk.end(running)
    assert not desk.quotas.note("default", asked, 0)
    assert desk.quotas.freed() == ["default"]


def test_a_queue_with_a_limit_of_its_own_is_asked_again_when_it_has_room() -> None:
    desk = Desk(kind("a"), default=1)
    running = desk.job("a")
    assert not desk.ask("default", [running])
    assert desk.quotas.is_full("default")
    desk.end(running)
    assert desk.quotas.freed() == ["default"]
