"""How a person asks for tables of what is inside of others' records."""

import re
from typing import Annotated

import typer

from milepost.downloads import Child
from milepost.errors import ConfigurationError

ChildOption = Annotated[
    list[str] | None,
    typer.Option(
        help="A table of the lists in a field: TABLE:FIELD or NAME=TABLE:FIELD. Repeatable.",
        metavar="TABLE:FIELD",
    ),
]


def children_of(typed: list[str] | None) -> dict[str, Child]:
    """Read them; without a name `orders:lines` is called `orders_lines`.

    Raises ConfigurationError.
    """
    children: dict[str, Child] = {}
    for each in typed or ():
        found = re.fullmatch(r"(?:([^=:]+)=)?([^:]+):([^:]+)", each)
        if found is None:
            raise ConfigurationError(f"--child takes TABLE:FIELD or NAME=TABLE:FIELD, not {each!r}")
        name, parent, field = found.groups()
        name = name or f"{parent}_{field.replace('.', '_')}"
        if name in children:
            raise ConfigurationError(f"--child names two tables {name!r}: write NAME=TABLE:FIELD")
        children[name] = Child(parent=parent, field=field)
    return children
