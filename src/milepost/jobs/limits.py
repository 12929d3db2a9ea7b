"""What holds a job back though it could run: limits that hold across all workers, and fair turns.

What a job has of them is computed once, at submit, and stored with it as its *lane*: jobs of one
lane have the same kind, share all their limits and take the same turns. So a claim needs no code,
and where the first of a lane may not begin, none of the lane may.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, Literal

from milepost.errors import DefinitionInvalid, PayloadInvalid

Key = Literal["owner"] | Callable[[Any], object] | None
"""What is counted by itself: each owner, each value of a function of the args, or all together."""

LONGEST_KEY: Final = 200
# An index holds lanes, and PostgreSQL's hold 2,700 bytes.
LONGEST_LANE: Final = 2000
LONGEST_PER: Final = timedelta(days=31)
# Begins the keys that jobs of other kinds, in other queues, may have too. No kind has a colon.
SHARED: Final = "name:"
PLAIN: Final = ""
"""The lane of jobs that nothing holds back."""


@dataclass(frozen=True, slots=True)
class Concurrency:
    """At most so many attempts run at once, in all workers together.

    With a `key`, so many for each of its values. Limits with one `name`, of whatever kinds, count
    together; without a name each stands by itself.
    """

    most: int
    key: Key = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """At most so many attempts begin in any stretch of time `per`, in all workers together.

    `key` and `name` as for Concurrency; of one name, those with the same `per` count together.
    """

    most: int
    per: timedelta
    key: Key = None
    name: str | None = None


Limit = Concurrency | Rate


@dataclass(frozen=True, slots=True)
class HeldLimit:
    """One limit as it stands with a job; `per` in seconds, None where it limits what runs."""

    key: str
    most: int
    per: float | None = None


@dataclass(frozen=True, slots=True)
class Lane:
    """Jobs of a queue of which none may begin where the first may not. `turn`: who takes turns."""

    kind: str
    turn: str | None = None
    limits: tuple[HeldLimit, ...] = ()

    @property
    def shared(self) -> bool:
        """Whether what ends in it may make room in other queues."""
        return any(limit.key.startswith(SHARED) for limit in self.limits)


class Steering:
    """A definition's limits and turns."""

    def __init__(self, kind: str, limits: Sequence[Limit], turns: Key) -> None:
        self._kind = kind
        self._limits = tuple(limits)
        self._turns = turns
        for each in self._limits:
            _check(kind, each)

    def __bool__(self) -> bool:
        return bool(self._limits) or self._turns is not None

    def lane(self, args: Any, owner: str | None) -> str:
        """Compute the lane of a job. Raises PayloadInvalid where a key is too long or fails."""
        if not self:
            return PLAIN
        turn = None if self._turns is None else self._value(self._turns, "turns", args, owner)
        held = [
            [self._key(number, limit, args, owner), limit.most]
            + ([limit.per.total_seconds()] if isinstance(limit, Rate) else [])
            for number, limit in enumerate(self._limits)
        ]
        lane = json.dumps([self._kind, turn, *held], separators=(",", ":"))
        if len(lane) > LONGEST_LANE:
            raise PayloadInvalid(
                f"{self._kind}: the keys of its limits have {len(lane):,} characters together as "
                f"JSON; they may have {LONGEST_LANE:,}"
            )
        return lane

    def _key(self, number: int, limit: Limit, args: Any, owner: str | None) -> str:
        scope = f"{self._kind} {number}" if limit.name is None else f"{SHARED}{limit.name}"
        if isinstance(limit, Rate):
            # What began within a second says nothing of an hour.
            scope += f" per {limit.per.total_seconds():g}"
        if limit.key is None:
            return scope
        return f"{scope} {self._value(limit.key, 'a limit', args, owner)}"

    def _value(self, key: Key, what: str, args: Any, owner: str | None) -> str:
        if key == "owner":
            # Jobs without one count together.
            value = owner or ""
        else:
            assert callable(key)  # noqa: S101 (checked when it was defined)
            try:
                value = str(key(args))
            except Exception as error:
                raise PayloadInvalid(
                    f"{self._kind}: the key of {what} cannot be computed from these args: {error!r}"
                ) from error
        value = ascii(value)[1:-1]
        if len(value) > LONGEST_KEY:
            raise PayloadInvalid(
                f"{self._kind}: the key of {what} has {len(value)} characters, at most "
                f"{LONGEST_KEY} are taken"
            )
        return value


@lru_cache(maxsize=4096)
def read_lane(lane: str) -> Lane:
    """Read a lane that is not plain."""
    kind, turn, *limits = json.loads(lane)
    return Lane(kind, turn, tuple(HeldLimit(*each) for each in limits))


def check_key(kind: str, what: str, key: Key) -> None:
    """Refuse a key that is none. Raises DefinitionInvalid."""
    if key is not None and key != "owner" and not callable(key):
        raise DefinitionInvalid(
            f"{kind}: the key of {what} is 'owner', a function of the args, or None, not {key!r}"
        )


def _check(kind: str, limit: Limit) -> None:
    if not isinstance(limit, Concurrency | Rate):
        raise DefinitionInvalid(f"{kind}: limits are Concurrency(...) or Rate(...), not {limit!r}")
    check_key(kind, "a limit", limit.key)
    if limit.most < 1:
        raise DefinitionInvalid(f"{kind}: a limit must be at least 1, not {limit.most}")
    if isinstance(limit, Rate) and not timedelta(milliseconds=1) <= limit.per <= LONGEST_PER:
        raise DefinitionInvalid(
            f"{kind}: a rate is per 1 ms to {LONGEST_PER.days} days, not per {limit.per}"
        )
    if limit.name is not None and not 0 < len(limit.name) <= LONGEST_KEY:
        raise DefinitionInvalid(
            f"{kind}: a limit's name has 1 to {LONGEST_KEY} characters: {limit.name!r}"
        )
