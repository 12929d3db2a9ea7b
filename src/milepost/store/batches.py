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
    Float,
    FromClause,
    Integer,
    Text,
    bindparam,
    cast,
    column,
    func,
    select,
)

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


def rows(values: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The parameter that holds these rows."""
    return {"batch": to_json(values).decode()}
