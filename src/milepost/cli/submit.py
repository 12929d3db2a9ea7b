"""`milepost submit`: store a job from the shell."""

import asyncio
from datetime import timedelta
from typing import Annotated

import typer

from milepost.app import Milepost
from milepost.cli import exits, loading
from milepost.cli.output import Output
from milepost.cli.watching import follow
from milepost.errors import ConfigurationError
from milepost.jobs.leases import LARGEST_ID
from milepost.jobs.outcomes import ON_FAILURE
from milepost.jobs.requests import SubmitOptions
from milepost.settings import LONGEST, parse_duration


def submit(
    kind: Annotated[str, typer.Argument(help="The kind of job, such as import-orders.")],
    args: Annotated[str, typer.Argument(help="Its args, as JSON.")] = "{}",
    app: Annotated[str | None, typer.Option(help="module:attribute [$MILEPOST_APP].")] = None,
    queue: Annotated[str | None, typer.Option(help="Instead of the definition's.")] = None,
    priority: Annotated[int | None, typer.Option(help="0 runs first.")] = None,
    delay: Annotated[str | None, typer.Option(help="Run after so long: 30s, 5m, 2h.")] = None,
    unique_key: Annotated[
        str | None, typer.Option(help="At most one unfinished job has it.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag. Repeatable.")] = None,
    owner: Annotated[str | None, typer.Option(help="Whose job it is.")] = None,
    after: Annotated[
        list[int] | None,
        typer.Option(help="Begin when this job has completed. Repeatable.", min=1, max=LARGEST_ID),
    ] = None,
    on_failure: Annotated[
        str, typer.Option(help="Where one of those fails: fail, cancel (the others too) or go-on.")
    ] = "fail",
    wait: Annotated[bool, typer.Option("--wait", help="Watch it to its end.")] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON for programs.")] = False,
) -> int:
    """Store a job. Its args are checked against the definition before anything is stored."""
    options: SubmitOptions = {}
    if queue is not None:
        options["queue"] = queue
    if priority is not None:
        options["priority"] = priority
    if delay is not None:
        options["delay"] = _duration(delay)
    if unique_key is not None:
        options["unique_key"] = unique_key
    if tag:
        options["tags"] = tag
    if owner is not None:
        options["owner"] = owner
    if after:
        options["after"] = after
    if on_failure not in ON_FAILURE:
        raise ConfigurationError(f"--on-failure takes {', '.join(ON_FAILURE)}, not {on_failure!r}")
    options["on_failure"] = on_failure
    return asyncio.run(
        _submit(loading.application(app), kind, args, options, Output(json=json), wait=wait)
    )


async def _submit(
    milepost: Milepost, kind: str, args: str, options: SubmitOptions, output: Output, *, wait: bool
) -> int:
    async with milepost:
        handle = await milepost.submit_json(kind, args, **options)
        output.emit({"event": "submitted", "job": handle.job_id, "existed": handle.existed})
        output.say(
            f"job {handle.job_id}"
            + (" (the unfinished one with this unique key)" if handle.existed else "")
        )
        if not wait:
            return 0
        view = await follow(handle, output)
        output.emit({"event": view.state, "job": view.id, "error": view.error})
        output.say(f"job {view.id} is {view.state}" + (f": {view.error}" if view.error else ""))
        return exits.OF_STATE[view.state]


def _duration(text: str) -> timedelta:
    delay = parse_duration(text)
    if delay is None:
        raise ConfigurationError(
            f"--delay takes a duration such as 30s, 5m or 2h, at most {LONGEST.days}d, not {text!r}"
        )
    return delay
