"""`milepost queues`: what waits, and whether it may begin."""

import re
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Annotated, Any, TypeVar

import typer
from sqlalchemy import Connection

from milepost.cli import loading
from milepost.cli.exits import DONE, exits
from milepost.cli.output import Output
from milepost.errors import ConfigurationError
from milepost.jobs.limits import LONGEST_PER
from milepost.jobs.names import check_queue
from milepost.settings import parse_duration
from milepost.store import limits, overview, pauses
from milepost.store.limits import QueueLimits

R = TypeVar("R")

app = typer.Typer(help="See what waits, pause queues, let them go on.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
QueueArgument = Annotated[str, typer.Argument(help="The queue's name.")]


@app.command("list")
@exits
def list_queues(json: JsonOption = False) -> int:
    """List the queues that hold something that has not ended, or are paused, or have limits."""
    output = Output(json=json)
    found = loading.with_store(lambda milepost: milepost.database.query(overview.queues))
    for each in found:
        output.emit(asdict(each) | {"limits": spelled(each.limits)})
    if not found:
        output.say("nothing waits, and nothing runs")
        return DONE
    output.table(
        ["queue", "running", "available", "scheduled", "oldest since", "paused", "limits"],
        [
            [
                each.name, str(each.running), str(each.available), str(each.scheduled),
                f"{each.oldest:%Y-%m-%d %H:%M:%S}" if each.oldest else "",
                "paused" if each.paused else "", str(each.limits),
            ]
            for each in found
        ],
    )  # fmt: skip
    return DONE


@app.command()
@exits
def pause(queue: QueueArgument, json: JsonOption = False) -> int:
    """Let no job of a queue begin; what runs goes on. Workers see it within a second."""
    try:
        check_queue(queue)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    loading.with_store(
        lambda milepost: milepost.database.run(pauses.pause, milepost.database.clock, queue)
    )
    output = Output(json=json)
    output.say(f"queue {queue} is paused")
    output.emit({"event": "paused", "queue": queue})
    return DONE


@app.command()
@exits
def resume(queue: QueueArgument, json: JsonOption = False) -> int:
    """Let the jobs of a queue begin again."""
    loading.with_store(lambda milepost: milepost.database.run(pauses.resume, queue))
    output = Output(json=json)
    output.say(f"queue {queue} goes on")
    output.emit({"event": "resumed", "queue": queue})
    return DONE


@app.command()
@exits
def limit(
    queue: QueueArgument,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="How many of its jobs run at once.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="How many begin in any stretch of time: 10/s, 600/5m.")
    ] = None,
    length: Annotated[
        int | None, typer.Option(min=1, help="How many may wait before submit refuses more.")
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="Take away all limits first.")] = False,
    json: JsonOption = False,
) -> int:
    """Give a queue limits, in all workers together; those not named stay as they are."""
    output = Output(json=json)
    given: dict[str, Any] = {"concurrency": concurrency, "length": length}
    if rate is not None:
        given["rate"], given["per"] = _rate(rate)
    changed = {name: value for name, value in given.items() if value is not None}
    if not changed and not none:
        raise ConfigurationError("say which: --concurrency N, --rate 10/s, --length N or --none")

    def change(conn: Connection) -> QueueLimits:
        before = QueueLimits() if none else limits.of_queue(conn, queue)
        limits.set_limits(conn, queue, after := replace(before, **changed))
        return after

    after = loading.with_store(lambda milepost: milepost.database.run(change))
    output.say(f"queue {queue}: {after}" if str(after) else f"queue {queue} has no limits")
    output.emit({"event": "limited", "queue": queue, "limits": spelled(after)})
    return DONE


def spelled(given: QueueLimits) -> dict[str, Any]:
    """Spell limits for programs; `per` in seconds."""
    return asdict(given) | {"per": given.per and given.per.total_seconds()}


def _rate(text: str) -> tuple[int, timedelta]:
    match = re.fullmatch(r"([1-9]\d{0,8})/(.+)", text)
    if match is not None:
        # 10/s is 10/1s.
        per = parse_duration(match[2] if match[2][0].isdigit() else f"1{match[2]}")
        if per is not None and timedelta(milliseconds=1) <= per <= LONGEST_PER:
            return int(match[1]), per
    raise ConfigurationError(
        f"--rate takes a number and a time such as 10/s, 600/5m or 1000/d, at most "
        f"{LONGEST_PER.days} days, not {text!r}"
    )
