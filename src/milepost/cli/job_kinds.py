"""`milepost kinds`: which kinds of jobs rest."""

from typing import Annotated

import typer

from milepost.cli import loading
from milepost.cli.exits import DONE, exits
from milepost.cli.output import Output
from milepost.store import pauses

app = typer.Typer(help="Pause kinds of jobs, let them go on.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
KindArgument = Annotated[str, typer.Argument(help="The kind of job, such as import-orders.")]


@app.command("paused")
@exits
def list_paused(json: JsonOption = False) -> int:
    """List the kinds that are paused."""
    output = Output(json=json)
    found = sorted(loading.with_store(lambda milepost: milepost.database.query(pauses.kinds)))
    for kind in found:
        output.say(kind)
        output.emit({"kind": kind})
    if not found:
        output.say("no kind is paused")
    return DONE


@app.command()
@exits
def pause(kind: KindArgument, json: JsonOption = False) -> int:
    """Let no job of a kind begin; what runs goes on. Workers see it within a second."""
    loading.with_store(
        lambda milepost: milepost.database.run(pauses.pause_kind, milepost.database.clock, kind)
    )
    output = Output(json=json)
    output.say(f"kind {kind} is paused")
    output.emit({"event": "paused", "kind": kind})
    return DONE


@app.command()
@exits
def resume(kind: KindArgument, json: JsonOption = False) -> int:
    """Let the jobs of a kind begin again."""
    loading.with_store(lambda milepost: milepost.database.run(pauses.resume_kind, kind))
    output = Output(json=json)
    output.say(f"kind {kind} goes on")
    output.emit({"event": "resumed", "kind": kind})
    return DONE
