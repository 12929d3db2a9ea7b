"""Many rows in one parameter.

A batch travels as one JSON text, so that a statement over 1 or 500 rows is the same statement:
compiled once by SQLAlchemy, planned once by the database, sent in one round trip.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json
from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Float,
    FromClause,
    Integer,
    Text,
    and_,
    any_,
    bindparam,
    cast,
    column,
    func,
    select,
)

from milepost.jobs.states import JobState
from milepost.store.tables import jobs

Columns = Mapping[str, type[BigInteger] | type[Integer] | type[Float[Any]] | type[Text]]


def batch(dialect: str, columns: Columns) -> FromClause:
    """A table named `batch` of the rows in the parameter `batch`."""
    given = bindparam("batch", type_=Text())
    if dialect == "sqlite":
        each = func.json_each(given).table_valued("value", name="each")
        return select(
            *(func.json_extract(each.c.value, f"$.{name}").label(name) for name in columns)
        ).subquery("batch")
    typed = [column(name, kind()) for name, kind in columns.items()]
    return (
        func.json_to_recordset(cast(given, JSON(none_as_null=True)))
        .table_valued(*typed, name="batch")
        .render_derived(with_types=True)
    )


def held(dialect: str, columns: Columns) -> FromClause:
    """The rows of `batch` whose attempt still runs, in a statement that updates their jobs.

    PostgreSQL locks those jobs first, in the order of their ids: a join takes rows in any order,
    and two statements over the same jobs would wait for each other. SQLite has one writer.
    """
    given = batch(dialect, columns)
    if dialect == "sqlite":
        return given
    runs = and_(
        jobs.c.id == given.c.id,
        jobs.c.attempt == given.c.attempt,
        jobs.c.state == JobState.RUNNING,
    )
    return (
        select(*given.c)
        .join_from(given, jobs, runs)
        .order_by(given.c.id)
        .with_for_update(of=jobs, key_share=True)
        .cte("held")
    )


def is_named(dialect: str, key: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a key is one of those in the parameter `batch`, which `ids` makes.

    On PostgreSQL an array and not a join: an index finds an array's members, whatever the planner
    believes of the table.
    """
    named = batch(dialect, {"id": BigInteger})
    if dialect == "sqlite":
        return key.in_(select(named.c.id))
    return key == any_(func.array(select(named.c.id).scalar_subquery()))


def ids(keys: Sequence[int]) -> dict[str, str]:
    """The parameter that names these keys."""
    return rows([{"id": key} for key in keys])


def rows(values: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The parameter that holds these rows."""
    return {"batch": to_json(values).decode()}
