"""`milepost download`: from a source into a database, and on from where it stopped."""

import asyncio
import contextlib
import hashlib
import os
import shlex
import sys
from dataclasses import dataclass, replace
from typing import Annotated, Final, get_args

import svcs
import typer
from pydantic import TypeAdapter
from sqlalchemy import Connection

from milepost.app import Milepost
from milepost.cli import loading, sources
from milepost.cli.exits import CANCELLED, DONE, FAILED
from milepost.cli.output import Output
from milepost.cli.stopping import on_stop
from milepost.cli.watching import follow
from milepost.connectors import Secrets, source_from
from milepost.connectors.secrets import references
from milepost.connectors.sources import FileFormat, Pagination
from milepost.database_urls import check_folder, parse_url
from milepost.downloads import Downloaded, DownloadRecords, Position, download_records
from milepost.errors import ConfigurationError, FatalConnectorError, JobNotRetryable
from milepost.handles import JobHandle
from milepost.jobs.states import JobState
from milepost.settings import Settings
from milepost.snapshots import Mode
from milepost.store import reading
from milepost.store.reading import JobView
from milepost.worker.rescuer import Rescuer

SOURCE: Final = "Source"
HTTP: Final = "Source over HTTP"


def download(
    source: Annotated[str, typer.Argument(help="A URL that answers in JSON, or a file.")],
    into: Annotated[str, typer.Option(help="SQLite file or database URL of the snapshot.")],
    table: Annotated[
        list[str] | None,
        typer.Option(help="Table: NAME or NAME=PATH, appended to the URL. Repeatable."),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(help="Field that tells records apart [default: id]. Repeatable."),
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="Without a key: append or replace.", metavar="MODE")
    ] = None,
    allow_mass_deletion: Annotated[
        bool,
        typer.Option(
            "--allow-mass-deletion", help="Most rows of a table may be gone at the source."
        ),
    ] = False,
    full: Annotated[
        bool,
        typer.Option("--full/--resume", help="Begin anew, or go on where the last run stopped."),
    ] = False,
    records_path: Annotated[
        str | None, typer.Option(help="Where the records are: data.items.", rich_help_panel=SOURCE)
    ] = None,
    page_size: Annotated[int | None, typer.Option(min=1, help="Records in a page.")] = None,
    file_format: Annotated[
        str | None, typer.Option("--format", help="csv, json or jsonl [default: by name].")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(help="'Authorization: Bearer $TOKEN'; $NAME comes from the environment."),
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="Query parameter name=value. Repeatable.")
    ] = None,
    basic_auth: Annotated[str | None, typer.Option(help="user:$PASSWORD")] = None,
    pagination: Annotated[
        str, typer.Option(help=f"One of {', '.join(get_args(Pagination))}.")
    ] = "auto",
    page_size_param: Annotated[str | None, typer.Option(help="Its parameter's name.")] = None,
    page_param: Annotated[str | None, typer.Option(help="Parameter of the page number.")] = None,
    first_page: Annotated[int | None, typer.Option(min=0, help="0 or 1.")] = None,
    offset_param: Annotated[str | None, typer.Option(help="Parameter of the offset.")] = None,
    cursor_param: Annotated[str | None, typer.Option(help="Parameter of the cursor.")] = None,
    cursor_path: Annotated[
        str | None, typer.Option(help="Where the next cursor or URL is in a reply.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON lines for programs.")] = False,
) -> int:
    """Copy records from a source into a database.

    Stop it at any moment, or kill it: the same command goes on where it stopped.
    """
    _check_choice("--pagination", pagination, get_args(Pagination))
    _check_choice("--mode", mode, get_args(Mode))
    if key and mode in ("append", "replace"):
        raise ConfigurationError(f"--mode {mode} takes no --key: leave out one of them")
    _check_choice("--format", file_format, get_args(FileFormat))
    kept = sources.Kept()
    is_http = source.startswith(("http://", "https://", "$"))
    address, credentials = sources.address_of(source, kept) if is_http else (source, None)
    http_options = {
        "headers": sources.headers_of(header or [], kept) or None,
        "params": sources.params_of(param or [], kept) or None,
        "basic_auth": sources.basic_auth_of(basic_auth, kept) or credentials,
        "pagination": None if pagination == "auto" else pagination,
        "page_size_param": page_size_param,
        "page_param": page_param,
        "first_page": first_page,
        "offset_param": offset_param,
        "cursor_param": cursor_param,
        "cursor_path": cursor_path,
    }
    foreign = [name for name, value in http_options.items() if value is not None and not is_http]
    if foreign:
        options = ", ".join(map(_option, foreign))
        raise ConfigurationError(f"{source} is a file: {options} are for HTTP")
    if not into.startswith("$"):
        url = parse_url(into)
        if not references(into):
            check_folder(url)
    try:
        described = source_from(
            address,
            tables=sources.tables_of(table or [], kept),
            records_path=records_path,
            page_size=page_size,
            format=file_format,
            **(http_options if is_http else {}),
        )
    except FatalConnectorError as error:
        raise ConfigurationError(str(error)) from error
    args = DownloadRecords(
        source=described,
        into=sources.destination_of(into, kept),
        key=tuple(key) if key else None,
        mode=TypeAdapter(Mode | None).validate_python(mode),
        allow_mass_deletion=allow_mass_deletion,
    )
    loading.log_to_stderr(quiet=True)
    # With --full it would begin anew each time, instead of going on.
    command = shlex.join(["milepost", *(kept.shown(a) for a in sys.argv[1:] if a != "--full")])
    plan = Plan(args, full=full, again=command, anew=f"{command} --full")
    secrets = Secrets(sources.merged(kept, os.environ))
    return asyncio.run(run(plan, loading.settings(), secrets, Output(json=json)))


@dataclass(frozen=True)
class Plan:
    """A download that somebody waits for.

    `again` is the command that goes on with it; `anew` the one that does not, where there is one.
    `names_store`: that command says by itself where the job is.
    """

    args: DownloadRecords
    again: str
    anew: str | None = None
    full: bool = False
    names_store: bool = False

    @property
    def name(self) -> str:
        """The same for the same download, so that the next run finds what this one left."""
        described = download_records.args.dump(self.args)
        return f"download:{hashlib.sha256(described.encode()).hexdigest()[:16]}"


async def run(plan: Plan, settings: Settings, secrets: Secrets, output: Output) -> int:
    """Run a download in this process and show it; returns the exit code."""
    services = svcs.Registry()
    services.register_value(Secrets, secrets)
    # A queue of its own: this process runs this download, and no other job of the store.
    own = replace(settings.worker, queues=(plan.name,), concurrency=1)
    milepost = Milepost(settings=replace(settings, worker=own), services=services)
    async with milepost:
        handle = await _submit(milepost, plan, output)
        worker = milepost.worker()
        stopping = asyncio.Event()
        stops: list[asyncio.Task[None]] = []

        def stop() -> None:
            first = not stopping.is_set()
            stopping.set()
            stops.append(asyncio.create_task(worker.stop()))
            if first:
                # Ctrl-C ends the reader of our pipe too.
                with contextlib.suppress(OSError):
                    output.say(
                        "\nStopping: what is committed is kept (once more to leave at once) …"
                    )

        with on_stop(stop):
            async with worker:
                try:
                    await follow(handle, output, until=stopping)
                except OSError as error:
                    # Nobody hears us. That costs the words, not the work: it is saved as on a stop.
                    stopping.set()
                    output.error(f"{error}: stopping; what is committed is kept. This goes on:")
                    output.error(plan.again)
            await asyncio.gather(*stops)
        return _conclude(await handle.view(), plan, settings, output, stopped=stopping.is_set())


async def _submit(milepost: Milepost, plan: Plan, output: Output) -> JobHandle[Downloaded]:
    def latest(conn: Connection) -> list[JobView]:
        return reading.recent(conn, unique_key=plan.name, limit=1)

    before = await milepost.database.query(latest)
    if before and before[0].state is not JobState.COMPLETED:
        handle = milepost.handle(before[0].id, download_records)
        if plan.full:
            # One that was killed still seems to run, and would keep the unique key.
            await Rescuer.of_nobody(milepost.database, milepost.signals, milepost.broker).tick()
            await handle.cancel("begun anew with --full")
        else:
            if before[0].state in (JobState.FAILED, JobState.CANCELLED):
                await _retry(handle)
            output.say(f"Going on with job {handle.job_id}{_position(before[0])}.")
            output.emit({"event": "resumed", "job": handle.job_id})
            return handle
    handle = await milepost.submit(
        download_records, plan.args, queue=plan.name, unique_key=plan.name
    )
    output.emit({"event": "submitted", "job": handle.job_id})
    return handle


async def _retry(handle: JobHandle[Downloaded]) -> None:
    try:
        await handle.retry()
    except JobNotRetryable:
        # Another run of the same command was quicker.
        return


def _position(view: JobView) -> str:
    if view.checkpoint is None:
        return ""
    position: Position = download_records.checkpoint.load(view.checkpoint)
    read = {name: state.read for name, state in position.tables.items()}
    return " after " + ", ".join(f"{count:,} {name}" for name, count in read.items())


def _conclude(
    view: JobView, plan: Plan, settings: Settings, output: Output, *, stopped: bool
) -> int:
    into = plan.args.into
    if view.state is JobState.COMPLETED:
        result: Downloaded = download_records.result.load(view.result or "")
        for name, each in result.tables.items():
            gone = f", {each.deleted:,} gone at the source" if each.deleted else ""
            if each.kept is not None:
                gone = ", all rows kept"
            output.say(f"{name}: {each.records:,} records in {each.pages:,} pages{gone}")
        output.say(f"Done: {into}")
        output.emit({"event": "completed", "job": view.id, "into": into, "tables": result.tables})
        return DONE
    named = plan.names_store or settings == Settings()
    store = "" if named else " (with the same DATABASE_URL)"
    if view.state is JobState.FAILED:
        output.error(f"job {view.id} failed: {view.error}")
        output.say(f"What was committed is kept. Once it is mended, this goes on{store}:")
        output.say(f"  {plan.again}")
        if view.checkpoint is not None and plan.anew is not None:
            # The source may have changed so that no position in it fits any more.
            output.say("or begin anew:")
            output.say(f"  {plan.anew}")
        return FAILED
    if view.state is JobState.CANCELLED:
        output.say(f"Cancelled: {view.cancel_reason or 'on request'}. What was committed is kept.")
        output.emit({"event": "cancelled", "job": view.id, "reason": view.cancel_reason})
        return CANCELLED
    done = _position(view)
    output.say(f"Stopped{done}; all of that is committed. This goes on{store}:")
    output.say(f"  {plan.again}")
    output.emit({"event": "stopped" if stopped else view.state, "job": view.id})
    return CANCELLED


def _option(field: str) -> str:
    """Name the option that a field of the source comes from."""
    singular = {"headers": "header", "params": "param"}
    return f"--{singular.get(field, field).replace('_', '-')}"


def _check_choice(option: str, given: str | None, choices: tuple[str, ...]) -> None:
    if given is not None and given not in choices:
        raise ConfigurationError(f"{option} takes one of {', '.join(choices)}, not {given!r}")
