"""A database as data that may stand in a job's args: a template, never a secret."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from milepost.connectors.database_templates import plain_password
from milepost.connectors.fields import CHECKED, Count, Duration
from milepost.connectors.sql.addresses import parse_address


@dataclass(frozen=True, kw_only=True, slots=True)
class SqlSource:
    """Tables of PostgreSQL, MariaDB, MySQL or SQLite.

    `url` is a template: `$NAME` is taken from the environment where the job runs.
    """

    __pydantic_config__: ClassVar[ConfigDict] = CHECKED

    url: str
    kind: Literal["sql"] = "sql"
    schema: str | None = None
    """None: the connection's own. On MariaDB and MySQL a database."""
    tables: tuple[str, ...] = ()
    """Tables and views by name. Empty: all tables, and no view."""
    page_size: Count = 1000
    incremental: dict[str, str] = field(default_factory=dict)
    """Table to the column that grows with every change; `*` is any table that has the column."""
    look_back: Annotated[timedelta, Field(ge=timedelta(0))] = timedelta(minutes=5)
    """How much earlier than the last time a pass by a column of moments begins."""
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Table or view to columns that tell its rows apart, where the database does not say."""
    connect_within: Duration = timedelta(seconds=10)
    answer_within: Duration = timedelta(minutes=10)
    """The longest wait for an answer, and for a page to be stored."""

    def __post_init__(self) -> None:
        """Refuse what can never work, and a password in plain text."""
        problem = plain_password(self.url, "url")
        if problem is not None:
            raise ValueError(problem)
        parse_address(self.url)
        empty = [table for table, columns in self.keys.items() if not columns]
        if empty:
            raise ValueError(f"keys of {', '.join(empty)}: name at least one column")
