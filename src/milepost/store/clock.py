"""The one clock that decides leases and waits; it is handed in, so that tests can turn it."""

from collections.abc import Hashable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import Float, Interval, String, bindparam, cast, func, literal, type_coerce
from sqlalchemy.sql import ColumnElement

from milepost.store.moments import Moment

NO_TIME = timedelta(0)


class Clock(Hashable, Protocol):
    """Says what the time is, as an expression for the statement that needs it."""

    def now(self, plus: timedelta = NO_TIME) -> ColumnElement[datetime]:
        """The present, or so much later."""
        ...

    def later(self, dialect: str, seconds: ColumnElement[float]) -> ColumnElement[datetime]:
        """The present plus a column of seconds."""
        ...


class HostClock:
    """The host's own clock: right where there is one host, as with SQLite."""

    def read(self) -> datetime:
        """The present; tests replace this."""
        return datetime.now(UTC)

    def now(self, plus: timedelta = NO_TIME) -> ColumnElement[datetime]:
        """The present, or so much later, as a parameter."""
        # Read when the statement is executed: it may have been made long before.
        return bindparam(None, callable_=lambda: self.read() + plus, type_=Moment(), unique=True)

    def later(self, dialect: str, seconds: ColumnElement[float]) -> Any:
        """The present plus a column of seconds."""
        if dialect == "sqlite":
            # %f stops at milliseconds; '000' brings it to the six digits that are stored,
            # so that moments compare as text.
            shift = cast(seconds, String) + " seconds"
            moment: Any = func.strftime("%Y-%m-%d %H:%M:%f", self.now(), shift)
            return type_coerce(moment + "000", Moment())
        return _later(self.now(), seconds)


class DatabaseClock:
    """The database's own clock: hosts' clocks need not agree. PostgreSQL only."""

    def now(self, plus: timedelta = NO_TIME) -> ColumnElement[datetime]:
        """When the statement began. Not clock_timestamp(): that is volatile, and no index
        serves a comparison with it. Not now(): a transaction may have waited for a lock.
        """  # noqa: D205
        present: ColumnElement[datetime] = func.statement_timestamp(type_=Moment())
        return present + literal(plus, Interval()) if plus else present

    def later(self, dialect: str, seconds: ColumnElement[float]) -> Any:  # noqa: ARG002
        """The present plus a column of seconds."""
        return _later(self.now(), seconds)


def _later(present: ColumnElement[datetime], seconds: ColumnElement[Any]) -> Any:
    return present + cast(seconds, Float) * literal(timedelta(seconds=1), Interval())
