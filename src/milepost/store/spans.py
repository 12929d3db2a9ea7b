"""Lengths of time, spelled for the database."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Float, Integer, cast, func, literal

from milepost.store.moments import Moment


def seconds_between(
    conn: Connection, begin: ColumnElement[Any], end: ColumnElement[Any]
) -> ColumnElement[float]:
    """Spell how many seconds lie between two moments."""
    if conn.dialect.name == "sqlite":
        days: ColumnElement[float] = func.julianday(end) - func.julianday(begin)
        return days * 86_400.0
    seconds: ColumnElement[float] = cast(func.extract("epoch", end - begin), Float)
    return seconds


def slot_of(
    conn: Connection, at: ColumnElement[Any], *, since: datetime, seconds: float
) -> ColumnElement[int]:
    """Spell in which slot of so many seconds after a moment another one lies; 0 is the first."""
    passed = seconds_between(conn, literal(since, Moment), at) / seconds
    # SQLite may have no floor, and its cast rounds down; PostgreSQL's rounds to the nearest.
    return cast(passed if conn.dialect.name == "sqlite" else func.floor(passed), Integer)
