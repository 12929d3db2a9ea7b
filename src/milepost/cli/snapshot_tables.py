"""What is in the tables of a snapshot: rows, changes, and what could not be stored."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from milepost import snapshots
from milepost.cli import loading
from milepost.cli.exits import DONE
from milepost.cli.output import Output
from milepost.connectors import Secrets
from milepost.downloads import NamedSnapshot
from milepost.downloads.looking import opened
from milepost.snapshots import Change, TableSummary

Name = Annotated[str, typer.Argument(help="The snapshot's name.", metavar="NAME")]
Table = Annotated[str, typer.Argument(help="One of its tables.", metavar="TABLE")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
DeletedOption = Annotated[
    bool, typer.Option("--deleted", help="With the rows that the source no longer has.")
]


def found_by(name: str) -> NamedSnapshot:
    """Read a snapshot from the store. Raises ConfigurationError."""
    return loading.with_store(lambda milepost: milepost.snapshots.find(name))


def rows(
    name: Name,
    table: Table,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    deleted: DeletedOption = False,
    json: JsonOption = False,
) -> int:
    """Show rows of a table, in the key's order."""
    output = Output(json=json)
    with opened(found_by(name), Secrets(os.environ)) as conn:
        found = snapshots.read_rows(conn, table, limit=limit, deleted=deleted)
    for row in found:
        output.emit(row)
    _say_rows(output, found)
    return DONE


def diff(
    name: Name,
    table: Table,
    since: Annotated[
        int | None,
        typer.Option(help="Since this pass [default: the last that has ended].", metavar="PASS"),
    ] = None,
    json: JsonOption = False,
) -> int:
    """Show what has changed in a table."""
    output = Output(json=json)
    counts = dict.fromkeys(("new", "changed", "gone"), 0)
    signs = {"new": "+", "changed": "~", "gone": "-"}
    with opened(found_by(name), Secrets(os.environ)) as conn:
        for change in snapshots.read_changes(conn, table, since=since):
            counts[change.what] += 1
            output.emit(asdict(change))
            output.say(f"{signs[change.what]} {_told(change)}")
    output.say(", ".join(f"{count:,} {what}" for what, count in counts.items()))
    return DONE


def _told(change: Change) -> str:
    def spelled(fields: dict[str, Any]) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in fields.items())

    if change.before is None:
        return spelled(change.record)
    before = change.before
    same = {name: value for name, value in change.record.items() if before.get(name) == value}
    other = [
        f"{name}: {before.get(name)!r} → {value!r}"
        for name, value in change.record.items()
        if name not in same
    ]
    return f"{spelled(dict(list(same.items())[:2]))}  {', '.join(other)}"


def export(
    name: Name,
    table: Table,
    file: Annotated[Path, typer.Argument(help="FILE.csv, .jsonl (also .gz) or .parquet.")],
    deleted: DeletedOption = False,
    json: JsonOption = False,
) -> int:
    """Write a table into a file, by the format that its name says."""
    output = Output(json=json)
    with opened(found_by(name), Secrets(os.environ)) as conn:
        count = snapshots.export(conn, table, file, deleted=deleted)
    output.say(f"{count:,} rows are in {file}")
    output.emit({"event": "exported", "table": table, "rows": count, "file": str(file)})
    return DONE


def quarantine(
    name: Name,
    table: Table,
    replay: Annotated[bool, typer.Option("--replay", help="Try to store them now.")] = False,
    json: JsonOption = False,
) -> int:
    """Show the records of a table that could not be stored, or store them now."""
    output = Output(json=json)
    with opened(found_by(name), Secrets(os.environ)) as conn:
        if replay:
            done = snapshots.replay(conn, table, at=datetime.now(UTC))
            output.say(
                f"{done.stored:,} stored, {done.superseded:,} superseded by newer versions, "
                f"{done.left:,} left"
            )
            output.emit({"event": "replayed", **asdict(done)})
            return DONE
        found = snapshots.read_quarantine(conn, table)
    for each in found:
        where = "" if each.field is None else f", field {each.field!r}"
        output.say(f"pass {each.pass_number}, record {each.position}{where}: {each.reason}")
        output.say(f"  {each.record!r}")
        output.emit(asdict(each))
    if not found:
        output.say("nothing is in quarantine")
    return DONE


def show_table(output: Output, table: TableSummary, waiting: int) -> None:
    """Show a table's columns, and how many rows it has."""
    gone = f", {table.deleted:,} of them gone at the source" if table.deleted else ""
    aside = f", {waiting:,} records in quarantine" if waiting else ""
    output.say(f"\n{table.relation}: {table.rows:,} rows{gone}{aside}")
    for column in table.columns:
        field = "" if column.field == column.name else f"  (field {column.field!r})"
        output.say(f"  {column.name:<30} {column.kind}{field}")


def _say_rows(output: Output, found: Sequence[dict[str, Any]]) -> None:
    if not found:
        output.say("no rows")
        return
    fields = list(found[0])
    output.table(fields, [[_shown(row[field]) for field in fields] for row in found])


def _shown(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else str(value)
    return text if text.isprintable() else repr(text)
