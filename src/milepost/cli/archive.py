"""`milepost jobs archive`: old jobs into a file, and then out of the store."""

from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from milepost.archive import archive as write_archive
from milepost.cli import loading
from milepost.cli.exits import DONE, exits
from milepost.cli.output import Output
from milepost.errors import ConfigurationError
from milepost.jobs.states import FINAL, JobState
from milepost.settings import parse_duration


@exits
def archive(
    file: Annotated[Path, typer.Argument(help="FILE.jsonl, .jsonl.gz or .parquet.")],
    older_than: Annotated[
        str, typer.Option(help="What ended so long ago: 30d, 12h, 90m; 0 for all that has ended.")
    ],
    state: Annotated[
        list[str] | None, typer.Option(help="Only these: completed, failed, cancelled.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind.")] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete them from the store when the file is written.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON for programs.")] = False,
) -> int:
    """Write old jobs into a file, with their attempts and log lines."""
    age = parse_duration(older_than)
    if age is None or age < timedelta(0):
        raise ConfigurationError(f"--older-than takes 30d, 12h or 90m, not {older_than!r}")
    for each in state or []:
        if each not in FINAL:
            raise ConfigurationError(f"--state takes {', '.join(sorted(FINAL))}, not {each!r}")
    states = [JobState(each) for each in state or sorted(FINAL)]
    output = Output(json=json)
    done = loading.with_store(
        lambda milepost: write_archive(
            milepost.database, file, older_than=age, states=states, kind=kind, delete=delete
        )
    )
    deleted = f", {done.deleted:,} of them deleted" if delete else ""
    output.say(f"{done.jobs:,} jobs are in {file}{deleted}")
    output.emit({"event": "archived", "file": str(file), **asdict(done)})
    return DONE
