"""`milepost download`: from a source into a database, and on from where it stopped."""

import asyncio
import contextlib
import hashlib
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final, get_args

import typer
from pydantic import TypeAdapter
from sqlalchemy import Connection

from milepost.app import Milepost
from milepost.cli import loading, sources
from milepost.cli.children import ChildOption, children_of
from milepost.cli.exits import CANCELLED, DONE, FAILED
from milepost.cli.flags import SourceFlags, check_choice, takes_source
from milepost.cli.output import Output
from milepost.cli.stopping import on_stop
from milepost.cli.watching import follow_all
from milepost.connectors import Secrets
from milepost.connectors.secrets import references
from milepost.database_urls import check_folder, parse_url
from milepost.downloads import (
    Downloaded,
    DownloadRecords,
    Position,
    TableDownloaded,
    download_records,
)
from milepost.downloads.args import LONGEST_WAIT
from milepost.errors import ConfigurationError, JobNotRetryable
from milepost.handles import JobHandle
from milepost.jobs.states import JobState
from milepost.services import svcs
from milepost.settings import Settings
from milepost.snapshots import Mode
from milepost.store import reading
from milepost.store.filters import JobFilter
from milepost.store.reading import JobView
from milepost.worker.rescuer import Rescuer

AT_ONCE: Final = 4
"""How many downloads one command runs at a time."""


@takes_source
def download(
    flags: SourceFlags,
    into: Annotated[
        str, typer.Option(help="File (SQLite, or *.duckdb) or database URL of the snapshot.")
    ],
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
    history: Annotated[
        bool,
        typer.Option("--history", help="Keep the older versions of each row, in a table beside."),
    ] = False,
    quarantine_limit: Annotated[
        int,
        typer.Option(
            help="How many records of a table may be set aside, because they cannot be stored.",
            min=0,
            metavar="N",
        ),
    ] = DownloadRecords.quarantine_limit,
    commit_within: Annotated[
        float,
        typer.Option(
            help="How long small pages may wait for one another, to be one commit; 0: never.",
            min=0,
            max=LONGEST_WAIT,
            metavar="SECONDS",
        ),
    ] = DownloadRecords.commit_within,
    child: ChildOption = None,
    full: Annotated[
        bool,
        typer.Option("--full/--resume", help="Begin anew, or go on where the last run stopped."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON lines for programs.")] = False,
) -> int:
    """Copy records from a source into a database.

    Stop it at any moment, or kill it: the same command goes on where it stopped.
    """
    check_choice("--mode", mode, get_args(Mode))
    if key and mode in ("append", "replace"):
        raise ConfigurationError(f"--mode {mode} takes no --key: leave out one of them")
    kept = sources.Kept()
    described = flags.described(kept)
    if not into.startswith("$"):
        url = parse_url(into)
        if not references(into):
            check_folder(url)
    args = DownloadRecords(
        source=described,
        into=sources.database_of(into, kept, what="into"),
        children=children_of(child),
        key=tuple(key) if key else None,
        mode=TypeAdapter(Mode | None).validate_python(mode),
        allow_mass_deletion=allow_mass_deletion,
        anew=full,
        history=history,
        quarantine_limit=quarantine_limit,
        commit_within=commit_within,
    )
    loading.log_to_stderr(quiet=True)
    # With --full it would begin anew each time, instead of going on.
    command = shlex.join(["milepost", *(kept.shown(a) for a in sys.argv[1:] if a != "--full")])
    plan = Plan(args, full=full, again=command, anew=f"{command} --full")
    secrets = Secrets(sources.merged(kept, os.environ))
    return asyncio.run(run([plan], loading.settings(), secrets, Output(json=json)))


@dataclass(frozen=True)
class Plan:
    """A download that somebody waits for.

    `again` is the command that goes on with it; `anew` the one that does not, where there is one.
    `names_store`: that command says by itself where the job is. `unique_key`: None for one that is
    made of the args.
    """

    args: DownloadRecords
    again: str
    anew: str | None = None
    full: bool = False
    names_store: bool = False
    unique_key: str | None = None
    tags: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The same for the same download, so that the next run finds what this one left."""
        if self.unique_key is not None:
            return self.unique_key
        return f"download:{hashlib.sha256(self.described.encode()).hexdigest()[:16]}"

    @property
    def queue(self) -> str:
        """A queue of its own, from which this process alone takes."""
        return f"download-{hashlib.sha256(self.name.encode()).hexdigest()[:16]}"

    @property
    def described(self) -> str:
        """Its args, whether it begins anew or not."""
        return _described(self.args)


async def run(plans: Sequence[Plan], settings: Settings, secrets: Secrets, output: Output) -> int:
    """Run downloads in this process and show them; returns the exit code of the worst."""
    services = svcs.Registry()
    services.register_value(Secrets, secrets)
    # Queues of their own: this process runs these downloads, and no other job of the store.
    own = replace(
        settings.worker,
        queues=tuple(plan.queue for plan in plans),
        concurrency=min(len(plans), AT_ONCE),
    )
    milepost = Milepost(settings=replace(settings, worker=own), services=services)
    async with milepost:
        handles = [await _submit(milepost, plan, output) for plan in plans]
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
                    await follow_all(handles, output, until=stopping)
                except OSError as error:
                    # Nobody hears us. That costs the words, not the work: it is saved as on a stop.
                    stopping.set()
                    output.error(f"{error}: stopping; what is committed is kept. This goes on:")
                    output.error(plans[0].again)
            await asyncio.gather(*stops)
        codes = [
            _conclude(await handle.view(), plan, settings, output, stopped=stopping.is_set())
            for handle, plan in zip(handles, plans, strict=True)
        ]
    return next((code for code in (FAILED, CANCELLED) if code in codes), DONE)


async def _submit(milepost: Milepost, plan: Plan, output: Output) -> JobHandle[Downloaded]:
    def latest(conn: Connection) -> list[JobView]:
        return reading.recent(conn, JobFilter(unique_key=plan.name), limit=1)

    before = await milepost.database.query(latest)
    if before and before[0].state is not JobState.COMPLETED and _goes_on(before[0], plan):
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
        download_records, plan.args, queue=plan.queue, unique_key=plan.name, tags=plan.tags
    )
    output.emit({"event": "submitted", "job": handle.job_id})
    return handle


def _goes_on(before: JobView, plan: Plan) -> bool:
    """Whether a job that has not come to its end is what is wanted now."""
    ended = before.state in (JobState.FAILED, JobState.CANCELLED)
    return not ended or _described(download_records.args.load(before.args)) == plan.described


def _described(args: DownloadRecords) -> str:
    return download_records.args.dump(replace(args, anew=False))


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


def _came_of(table: TableDownloaded) -> str:
    counts = {
        "new": table.inserted,
        "changed": table.updated,
        "unchanged": table.unchanged,
        "in quarantine": table.quarantined,
        "gone at the source": table.deleted,
    }
    told = [f"{count:,} {what}" for what, count in counts.items() if count]
    if table.kept is not None:
        told.append("all rows kept")
    return f": {', '.join(told)}" if told else ""


def _conclude(
    view: JobView, plan: Plan, settings: Settings, output: Output, *, stopped: bool
) -> int:
    into = plan.args.into
    if view.state is JobState.COMPLETED:
        result: Downloaded = download_records.result.load(view.result or "")
        for name, each in result.tables.items():
            output.say(f"{name}: {each.records:,} records in {each.pages:,} pages{_came_of(each)}")
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
