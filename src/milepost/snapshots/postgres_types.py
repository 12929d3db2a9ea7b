"""The types of PostgreSQL's columns, and the SQL that turns one into another."""

from typing import Final

from milepost.snapshots.kinds import Kind

TYPES: Final = {
    Kind.UNDECIDED: "text",
    Kind.INTEGER: "bigint",
    Kind.FLOAT: "double precision",
    Kind.BOOLEAN: "boolean",
    Kind.TIMESTAMP: "timestamptz",
    Kind.TEXT: "text",
    Kind.JSON: "jsonb",
}


def widening(name: str, before: Kind, after: Kind) -> str:
    """Write the SQL that turns stored values into the wider kind, as new ones are written."""
    if before is Kind.UNDECIDED:
        return f"NULL::{TYPES[after]}"
    texts = {Kind.FLOAT: _float_text(name), Kind.TIMESTAMP: iso(name)}
    match after:
        case Kind.TEXT:
            return texts.get(before, f"{name}::text")
        case Kind.JSON if before is Kind.FLOAT:
            return f"({texts[before]})::jsonb"
        case Kind.JSON:
            return f"to_jsonb({texts.get(before, name)})"
        case _:
            return f"{name}::{TYPES[after]}"


def iso(name: str) -> str:
    """Write an instant as `2024-05-06T07:08:09Z`, with a fraction where there is one."""
    text = f"""to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')"""
    return rf"regexp_replace({text}, '\.?0+$', '') || 'Z'"


def _float_text(name: str) -> str:
    """Write a float as Python's repr does: 5.0, not PostgreSQL's 5.

    From 1e15 on PostgreSQL may write other digits, 1e+15 or 9.999999999999999e+22, that read back
    as the same float.
    """
    text = f"{name}::text"
    return f"CASE WHEN {text} ~ '[.e]' THEN {text} ELSE {text} || '.0' END"
