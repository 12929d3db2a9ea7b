"""When the next request of some credentials may go out, whoever sends it."""

from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Double, bindparam, cast, func
from sqlalchemy.sql import ColumnElement

from milepost.store.clock import Clock, HostClock
from milepost.store.tables import budgets
from milepost.store.upserts import insert_into


def reserve(conn: Connection, clock: Clock, key: str, *, every: float, burst: int) -> float:
    """Take the next turn; returns how many seconds from now it begins.

    Turns are `every` seconds apart; after a pause, up to `burst` come at once: the generic cell
    rate algorithm of ITU-T I.371.
    """
    slack = every * (burst - 1)
    wait: float = conn.execute(
        _reserve(conn.dialect.name, clock), {"key": key, "every": every, "slack": slack}
    ).scalar_one()
    return max(0.0, wait)


def hold(conn: Connection, clock: Clock, key: str, *, seconds: float) -> None:
    """Let the next turn not begin for so long."""
    conn.execute(_hold(conn.dialect.name, clock), {"key": key, "seconds": seconds})


@lru_cache
def _reserve(dialect: str, clock: Clock) -> Any:
    now, every = _now(dialect, clock), bindparam("every", type_=Double)
    earliest = now - bindparam("slack", type_=Double)
    insert = insert_into(dialect, budgets).values(key=bindparam("key"), next_at=earliest + every)
    return insert.on_conflict_do_update(
        index_elements=[budgets.c.key],
        set_={"next_at": _later_of(dialect, budgets.c.next_at, earliest) + every},
    ).returning(budgets.c.next_at - every - now)


@lru_cache
def _hold(dialect: str, clock: Clock) -> Any:
    until = _now(dialect, clock) + bindparam("seconds", type_=Double)
    return (
        insert_into(dialect, budgets)
        .values(key=bindparam("key"), next_at=until)
        .on_conflict_do_update(
            index_elements=[budgets.c.key],
            set_={"next_at": _later_of(dialect, budgets.c.next_at, until)},
        )
    )


def _later_of(dialect: str, one: ColumnElement[Any], other: ColumnElement[Any]) -> Any:
    return (func.greatest if dialect == "postgresql" else func.max)(one, other)


def _now(dialect: str, clock: Clock) -> ColumnElement[float]:
    if isinstance(clock, HostClock):
        host = clock
        moment: Any = bindparam(None, callable_=lambda: host.read().timestamp(), unique=True)
        return cast(moment, Double) if dialect == "postgresql" else moment
    return cast(func.extract("epoch", clock.now()), Double)
