"""How a moment is stored: timestamptz on PostgreSQL, UTC text that sorts by time on SQLite."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, String
from sqlalchemy.types import TypeDecorator, TypeEngine


class Moment(TypeDecorator[datetime]):
    """An aware datetime, given and returned in UTC."""

    impl = DateTime
    cache_ok = True

    @staticmethod
    def spell(value: datetime) -> str:
        """Write a moment as UTC text that sorts by time."""
        if value.tzinfo is None:
            raise ValueError(f"a moment needs a time zone: {value}")
        # Not strftime: it writes the year 999 with three digits.
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column type."""
        text = dialect.name == "sqlite"
        return dialect.type_descriptor(String() if text else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse a naive datetime: which moment it means is anybody's guess."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return self.spell(value)
        if value.tzinfo is None:
            raise ValueError(f"a moment needs a time zone: {value}")
        return value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Give UTC back."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return datetime.fromisoformat(value).replace(tzinfo=UTC)
        moment: datetime = value
        return moment.astimezone(UTC)
