"""`milepost snapshots`: sets of tables that mirror a source, by name."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import replace as replace_field
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from pydantic import TypeAdapter
from sqlalchemy import Connection

from milepost import snapshots
from milepost.app import Milepost
from milepost.cli import download, loading, sources
from milepost.cli.asking import confirm
from milepost.cli.children import ChildOption, children_of
from milepost.cli.exits import DONE, exits
from milepost.cli.flags import SourceFlags, check_choice, takes_source
from milepost.cli.output import Output
from milepost.cli.snapshot_tables import (
    JsonOption,
    Name,
    diff,
    export,
    found_by,
    quarantine,
    rows,
    show_table,
)
from milepost.connectors import FileSource, Secrets
from milepost.database_urls import check_folder, parse_url
from milepost.downloads import NamedSnapshot, Snapshot, Sources, TableWish
from milepost.downloads.looking import opened
from milepost.downloads.named import absolute
from milepost.errors import ConfigurationError
from milepost.services import svcs
from milepost.snapshots import Mode
from milepost.store import reading
from milepost.store.filters import JobFilter
from milepost.store.reading import JobView

app = typer.Typer(
    help="Tables that mirror a source, by name; see docs/snapshots.md.", no_args_is_help=True
)


@app.command()
@exits
@takes_source
def create(
    flags: SourceFlags,
    name: Name,
    into: Annotated[str, typer.Option(help="File (SQLite, or *.duckdb) or database URL.")],
    key: Annotated[
        list[str] | None, typer.Option(help="Field that tells records apart. Repeatable.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="Without a key: append or replace.", metavar="MODE")
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="Keep the older versions of each row.")
    ] = False,
    child: ChildOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Describe one of that name anew.")
    ] = False,
    json: JsonOption = False,
) -> int:
    """Name a set of tables of a source, and the database that is to mirror them.

    Nothing is read yet: that does `milepost snapshots sync NAME`.
    """
    check_choice("--mode", mode, get_args(Mode))
    kept = sources.Kept(prefix="")
    described = flags.described(kept)
    template = sources.database_of(into, kept, what="into")
    if kept.values:
        raise ConfigurationError(
            f"a snapshot stores no secrets, and here are {', '.join(sorted(kept.values))}: store "
            "the source with `milepost connections add` and name connection:NAME, or write $NAME"
        )
    if not template.startswith("$"):
        check_folder(parse_url(template))
    wish = TableWish(
        key=tuple(key) if key else None,
        mode=TypeAdapter(Mode | None).validate_python(mode),
        history=history,
    )
    children = children_of(child)
    tables = {table.partition("=")[0]: wish for table in flags.table or ()}
    if tables:
        tables |= dict.fromkeys(children, wish)
    if isinstance(described, FileSource) and "://" not in described.path:
        described = replace_field(described, path=str(Path(described.path).absolute()))
    snapshot = Snapshot(
        source=described, into=absolute(template), tables=tables, every=wish, children=children
    )
    loading.with_store(lambda milepost: milepost.snapshots.create(name, snapshot, replace=replace))
    output = Output(json=json)
    output.say(f"{name} is stored. Fill it: milepost snapshots sync {name}")
    output.emit({"event": "created", "snapshot": name, "into": snapshot.into})
    return DONE


@app.command()
@exits
def sync(
    name: Name,
    table: Annotated[list[str] | None, typer.Option(help="Only this table. Repeatable.")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Read all, also of a source that could give what is new.")
    ] = False,
    allow_mass_deletion: Annotated[
        bool,
        typer.Option("--allow-mass-deletion", help="Most rows of a table may be gone."),
    ] = False,
    wait: Annotated[
        bool,
        typer.Option("--wait/--no-wait", help="Run it here and show it, or leave it to workers."),
    ] = True,
    json: JsonOption = False,
) -> int:
    """Bring the tables up to the source, each by a job of its own.

    Stop it at any moment: the same command goes on.
    """
    output = Output(json=json)
    loading.log_to_stderr(quiet=True)

    async def submit(milepost: Milepost) -> None:
        handles = await milepost.sync(
            name, tables=table or (), anew=full, allow_mass_deletion=allow_mass_deletion
        )
        for each, handle in handles.items():
            running = ", which has not ended yet" if handle.existed else ""
            output.say(f"{each}: job {handle.job_id}{running}")
            output.emit({"event": "submitted", "table": each, "job": handle.job_id})

    async def wanted(milepost: Milepost) -> tuple[NamedSnapshot, Sequence[str]]:
        await milepost.ready()
        named = await milepost.snapshots.find(name)
        async with svcs.Container(milepost.services) as container:
            return named, await named.tables(await container.aget(Sources), only=table or ())

    if not wait:
        loading.with_store(submit)
        return DONE
    named, tables = loading.with_store(wanted)
    again = f"milepost snapshots sync {name}"
    plans = [
        download.Plan(
            named.args(each, anew=full, allow_mass_deletion=allow_mass_deletion),
            again=again,
            anew=f"{again} --full",
            full=full,
            unique_key=named.unique_key(each),
            tags=[f"snapshot:{name}"],
        )
        for each in tables
    ]
    if not plans:
        output.say("the source has no tables")
        return DONE
    return asyncio.run(download.run(plans, loading.settings(), Secrets(os.environ), output))


@app.command("list")
@exits
def list_snapshots(json: JsonOption = False) -> int:
    """List the snapshots, and how their last syncs ended."""
    output = Output(json=json)

    async def read(milepost: Milepost) -> list[tuple[NamedSnapshot, list[JobView]]]:
        return [(each, await _syncs(milepost, each)) for each in await milepost.snapshots.listed()]

    found = loading.with_store(read)
    for each, syncs in found:
        output.emit(
            {
                "snapshot": each.name, "source": each.described.source.kind,
                "into": each.described.into, "tables": sorted(each.described.tables),
                "syncs": [_sync_event(view) for view in syncs],
            }
        )  # fmt: skip
    if not found:
        output.say("no snapshots")
        return DONE
    output.table(
        ["name", "source", "into", "tables", "last sync"],
        [
            [
                each.name, each.described.source.kind, each.described.into,
                ", ".join(sorted(each.described.tables)) or "all",
                _said(syncs[0]) if syncs else "never",
            ]
            for each, syncs in found
        ],
    )  # fmt: skip
    return DONE


@app.command()
@exits
def show(name: Name, json: JsonOption = False) -> int:
    """Show a snapshot: its tables, what is in them, and their last syncs."""
    output = Output(json=json)

    async def read(milepost: Milepost) -> tuple[NamedSnapshot, list[JobView]]:
        named = await milepost.snapshots.find(name)
        return named, await _syncs(milepost, named)

    named, syncs = loading.with_store(read)
    with opened(named, Secrets(os.environ)) as conn:
        tables = snapshots.list_tables(conn)
        passes = {table.name: snapshots.read_entries(conn, table.name) for table in tables}
        waiting = {table.name: len(snapshots.read_quarantine(conn, table.name)) for table in tables}
    wanted = named.described.tables
    tables = [table for table in tables if not wanted or table.name in wanted]
    output.say(f"{name}: {named.described.source.kind} into {named.described.into}")
    for table in tables:
        show_table(output, table, waiting[table.name])
        output.emit(
            {
                "table": table.name, "relation": table.relation, "rows": table.rows,
                "deleted": table.deleted, "quarantined": waiting[table.name],
                "columns": [asdict(column) for column in table.columns],
                "passes": [asdict(each) for each in passes[table.name][:10]],
            }
        )  # fmt: skip
    if not tables:
        output.say(f"  no tables yet: milepost snapshots sync {name}")
    for view in syncs:
        output.say(f"  job {view.id}: {_said(view)}")
        output.emit(_sync_event(view))
    return DONE


@app.command("rm")
@exits
def remove(
    name: Name,
    drop_tables: Annotated[
        bool, typer.Option("--drop-tables", help="Drop its tables too, with all rows.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: JsonOption = False,
) -> int:
    """Forget a snapshot; its tables stay, unless they are to be dropped."""
    output = Output(json=json)
    named = found_by(name)
    what = f"Forget the snapshot {name!r}"
    if not confirm(f"{what} and drop its tables?" if drop_tables else f"{what}?", yes=yes):
        output.say("nothing was changed")
        output.emit({"event": "kept", "snapshot": name})
        return DONE
    dropped: list[str] = []
    if drop_tables:
        with opened(named, Secrets(os.environ)) as conn:
            there = [each.name for each in snapshots.list_tables(conn)]
            wanted = named.described.tables
            dropped = [each for each in there if not wanted or each in wanted]
            for each in dropped:
                snapshots.drop_table(conn, each)
    loading.with_store(lambda milepost: milepost.snapshots.remove(name))
    output.say(f"{name} is forgotten" + (f"; dropped: {', '.join(dropped)}" if dropped else ""))
    output.emit({"event": "removed", "snapshot": name, "dropped": dropped})
    return DONE


for command in (rows, diff, export, quarantine):
    app.command()(exits(command))


async def _syncs(milepost: Milepost, named: NamedSnapshot) -> list[JobView]:
    """The latest job of each table, the newest first."""

    def latest(conn: Connection) -> list[JobView]:
        found = reading.recent(conn, JobFilter(kind="download-records"), limit=1000)
        tag = f"snapshot:{named.name}"
        newest: dict[str | None, JobView] = {}
        for view in found:
            if tag in view.tags:
                newest.setdefault(view.unique_key, view)
        return list(newest.values())

    return await milepost.database.query(latest)


def _sync_event(view: JobView) -> dict[str, Any]:
    return {
        "job": view.id, "state": view.state, "error": view.error,
        "finished_at": view.finished_at,
    }  # fmt: skip


def _said(view: JobView) -> str:
    when = view.finished_at or view.created_at
    return f"{view.state}, {when:%Y-%m-%d %H:%M:%S}" + (f": {view.error}" if view.error else "")
