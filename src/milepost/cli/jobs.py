"""`milepost jobs`: look at jobs and steer them."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer
from pydantic_core import from_json

from milepost.app import Milepost
from milepost.cli import loading
from milepost.cli.display import spell_estimate, spell_time
from milepost.cli.exits import OF_STATE, exits
from milepost.cli.families import flow_as_dict, flow_facts, flow_tree
from milepost.cli.output import Output
from milepost.cli.watching import LOOK_EVERY, LogTail, follow
from milepost.errors import ConfigurationError
from milepost.jobs.leases import LARGEST_ID
from milepost.jobs.progress import Estimate, Progress
from milepost.jobs.states import FINAL, JobState
from milepost.store import reading
from milepost.store.attempts import AttemptRecord
from milepost.store.filters import JobFilter
from milepost.store.reading import JobView

R = TypeVar("R")

app = typer.Typer(help="Look at jobs, cancel them, retry them.", no_args_is_help=True)

JobIdArgument = Annotated[
    int, typer.Argument(help="The job's id.", metavar="ID", min=1, max=LARGEST_ID)
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON for programs.")]


@app.command("list")
@exits
def list_jobs(
    state: Annotated[list[str] | None, typer.Option(help="Only these states.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind.")] = None,
    queue: Annotated[str | None, typer.Option(help="Only this queue.")] = None,
    before: Annotated[
        int | None, typer.Option(help="Older than this id.", min=1, max=LARGEST_ID)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    json: JsonOption = False,
) -> int:
    """List jobs, the newest first."""
    for each in state or []:
        if each not in list(JobState):
            raise ConfigurationError(f"--state takes {', '.join(JobState)}, not {each!r}")
    states = [JobState(each) for each in state or []]
    output = Output(json=json)

    async def read(milepost: Milepost) -> list[JobView]:
        return await milepost.database.query(
            reading.recent,
            JobFilter(states=states, kind=kind, queue=queue),
            before=before,
            limit=limit,
        )

    views = loading.with_store(read)
    for view in views:
        output.emit(_as_dict(view))
    if not views:
        output.say("no jobs")
        return 0
    output.table(
        ["id", "kind", "state", "progress", "attempt", "created", "took", "error"],
        [
            [
                str(view.id), view.kind, _state(view), _progress(view.progress), str(view.attempt),
                f"{view.created_at:%Y-%m-%d %H:%M:%S}", _took(view),
                (view.error or "").partition("\n")[0][:60],
            ]
            for view in views
        ],
    )  # fmt: skip
    return 0


@app.command()
@exits
def show(job_id: JobIdArgument, json: JsonOption = False) -> int:
    """Show one job: args, progress, checkpoint, its flow, attempts, error with traceback."""
    output = Output(json=json)

    async def read(milepost: Milepost) -> None:
        handle: Any = milepost.handle(job_id)
        view, attempts, estimate, flow = (
            await handle.view(), await handle.attempts(), await handle.estimate(),
            await handle.flow(),
        )  # fmt: skip
        output.emit(
            {**_as_dict(view), "attempts": [asdict(each) for each in attempts],
             **flow_as_dict(flow)}
        )  # fmt: skip
        for name, value in [*_facts(view, estimate), *flow_facts(flow)]:
            output.say(f"{name:<12} {value}")
        for line in flow_tree(flow):
            output.say(line)
        if attempts:
            output.say()
        for each in attempts:
            began = "" if each.started_at is None else f"{each.started_at:%Y-%m-%d %H:%M:%S}  "
            took = "" if each.started_at is None else spell_time(each.finished_at - each.started_at)
            output.say(
                f"attempt {each.attempt:<4} {began}{_outcome(each)} after {took}, "
                f"worker {each.worker_id}" + (f"\n  {each.error}" if each.error else "")
            )
        trace = next((each.traceback for each in reversed(attempts) if each.traceback), None)
        if trace:
            output.say(f"\n{trace}")

    loading.with_store(read)
    return 0


@app.command()
@exits
def watch(job_id: JobIdArgument, json: JsonOption = False) -> int:
    """Watch a job's progress until it ends; exits as the job does."""
    output = Output(json=json)

    async def read(milepost: Milepost) -> JobView:
        handle: Any = milepost.handle(job_id)
        return await follow(handle, output)

    view = loading.with_store(read)
    output.say(f"job {job_id} is {view.state}" + (f": {view.error}" if view.error else ""))
    output.emit({"event": view.state, "job": view.id, "error": view.error})
    return OF_STATE[view.state]


@app.command()
@exits
def cancel(
    job_id: JobIdArgument,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept with the job.")] = None,
    json: JsonOption = False,
) -> int:
    """Ask a job and what it waits for to stop, wait for it, and say what became of it."""
    output = Output(json=json)

    async def ask(milepost: Milepost) -> None:
        handle: Any = milepost.handle(job_id)
        answer = await handle.cancel(reason)
        output.say(str(answer))
        output.emit({"event": "cancel", **asdict(answer), "cancelled": answer.cancelled})

    loading.with_store(ask)
    return 0


@app.command()
@exits
def retry(job_id: JobIdArgument, json: JsonOption = False) -> int:
    """Send a failed or cancelled job back to available; it goes on from its checkpoint.

    One that waited for others in vain takes along what failed or was cancelled of those.
    """
    output = Output(json=json)

    async def ask(milepost: Milepost) -> JobView:
        handle: Any = milepost.handle(job_id)
        await handle.retry()
        view: JobView = await handle.view()
        return view

    waits = loading.with_store(ask).waits
    output.say(f"job {job_id} " + ("waits for others again" if waits else "is available again"))
    output.emit({"event": "retried", "job": job_id})
    return 0


@app.command()
@exits
def logs(
    job_id: JobIdArgument,
    follow_on: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    json: JsonOption = False,
) -> int:
    """Print what a job has logged."""
    output = Output(json=json)

    async def read(milepost: Milepost) -> None:
        handle: Any = milepost.handle(job_id)
        tail = LogTail(handle)
        ended = False
        while not ended:
            # Asked before the lines: then those of a job that has ended are the last.
            ended = (await handle.view()).state in FINAL or not follow_on
            for line in await tail.read():
                output.say(f"{line.at:%H:%M:%S.%f} {line.level:<7} {line.message}")
                output.emit({"job": job_id, "attempt": line.lease.attempt, "at": line.at,
                             "level": line.level, "message": line.message})  # fmt: skip
            if not ended:
                await asyncio.sleep(LOOK_EVERY.total_seconds())

    loading.with_store(read)
    return 0


def _as_dict(view: JobView) -> dict[str, Any]:
    stored = {name: getattr(view, name) for name in ("args", "checkpoint", "result")}
    return {
        **asdict(view),
        **{name: text and from_json(text) for name, text in stored.items()},
        "run_at": None if view.waits else view.run_at,
    }


def _state(view: JobView) -> str:
    if view.state is JobState.RUNNING and view.cancel_requested_at is not None:
        return "running (cancel requested)"
    if view.waits:
        return "scheduled (waits for others)"
    return view.state


def _outcome(attempt: AttemptRecord) -> str:
    return "misfit (left for a newer worker)" if attempt.outcome == "misfit" else attempt.outcome


def _progress(progress: Progress | None) -> str:
    if progress is None:
        return ""
    if progress.percentage is None:
        return f"{progress.count:,}"
    return f"{progress.percentage:.0f} %"


def _took(view: JobView) -> str:
    if view.started_at is None:
        return ""
    end = view.finished_at or (
        datetime.now(UTC) if view.state is JobState.RUNNING else view.started_at
    )
    return spell_time(max(end - view.started_at, end - end))


def _facts(view: JobView, estimate: Estimate) -> list[tuple[str, str]]:
    def moment(at: datetime | None) -> str:
        return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"

    has_its_time = view.state is JobState.SCHEDULED and not view.waits
    facts = [
        ("job", str(view.id)),
        ("kind", view.kind),
        ("state", _state(view)),
        ("queue", f"{view.queue}, priority {view.priority}"),
        ("attempts", f"{view.attempt} begun, {view.failures} of {view.max_attempts} failures"),
        ("created", moment(view.created_at)),
        ("for", moment(view.scheduled_for)),
        ("runs at", moment(view.run_at) if has_its_time else ""),
        ("started", moment(view.started_at)),
        ("finished", moment(view.finished_at)),
        ("worker", (view.worker_id or "") if view.state is JobState.RUNNING else ""),
        ("unique key", view.unique_key or ""),
        ("owner", view.owner or ""),
        ("tags", ", ".join(view.tags)),
        ("args", view.args),
        ("checkpoint", view.checkpoint or ""),
        ("result", view.result or ""),
        ("error", view.error or ""),
        ("cancel", _cancel(view)),
    ]
    if view.progress is not None:
        total = "" if view.progress.total is None else f" of {view.progress.total:,}"
        note = spell_estimate(estimate) if view.state is JobState.RUNNING else ""
        spelled = (f"{view.progress.count:,}{total}", _progress(view.progress), note,
                   view.progress.message or "")  # fmt: skip
        facts.append(("progress", ", ".join(filter(None, spelled))))
    return [(name, value) for name, value in facts if value]


def _cancel(view: JobView) -> str:
    if view.cancel_requested_at is None:
        return ""
    reason = f": {view.cancel_reason}" if view.cancel_reason else ""
    return f"requested {view.cancel_requested_at:%Y-%m-%d %H:%M:%S} UTC{reason}"
