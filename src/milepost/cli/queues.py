"""`milepost queues`: what waits, and whether it may begin."""

from dataclasses import asdict
from typing import Annotated, TypeVar

import typer

from milepost.cli import loading
from milepost.cli.exits import DONE, exits
from milepost.cli.output import Output
from milepost.errors import ConfigurationError
from milepost.jobs.names import check_queue
from milepost.store import overview, pauses

R = TypeVar("R")

app = typer.Typer(help="See what waits, pause queues, let them go on.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
QueueArgument = Annotated[str, typer.Argument(help="The queue's name.")]


@app.command("list")
@exits
def list_queues(json: JsonOption = False) -> int:
    """List the queues that hold something that has not ended, and those that are paused."""
    output = Output(json=json)
    found = loading.with_store(lambda milepost: milepost.database.query(overview.queues))
    for each in found:
        output.emit(asdict(each))
    if not found:
        output.say("nothing waits, and nothing runs")
        return DONE
    output.table(
        ["queue", "running", "available", "scheduled", "oldest since", "paused"],
        [
            [
                each.name, str(each.running), str(each.available), str(each.scheduled),
                f"{each.oldest:%Y-%m-%d %H:%M:%S}" if each.oldest else "",
                "paused" if each.paused else "",
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
