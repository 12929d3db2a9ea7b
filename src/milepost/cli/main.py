"""The commands, put together."""

from typing import Annotated

import typer

from milepost.cli import (
    archive,
    connections,
    demo,
    doctor,
    download,
    job_kinds,
    jobs,
    kinds,
    migrate,
    notify,
    queues,
    serving,
    snapshots,
    submit,
    tokens,
)
from milepost.cli.exits import exits

app = typer.Typer(
    name="milepost",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug logs.")] = False,
) -> None:
    """Long-running jobs that report progress, stop when asked, and resume after a crash.

    Exit codes: 0 done, 1 failed, 2 usage, 130 cancelled.
    """


app.command("demo")(exits(demo.demo))
app.command("download")(exits(download.download))
app.command("up")(exits(serving.up))
app.command("worker")(exits(serving.worker))
app.command("web")(exits(serving.web))
app.command("submit")(exits(submit.submit))
jobs.app.command("archive")(archive.archive)
app.add_typer(jobs.app, name="jobs")
app.add_typer(queues.app, name="queues")
app.add_typer(job_kinds.app, name="kinds")
app.add_typer(kinds.app, name="sources")
app.add_typer(connections.app, name="connections")
app.add_typer(snapshots.app, name="snapshots")
app.add_typer(tokens.app, name="tokens")
app.add_typer(notify.app, name="notify")
app.command("migrate")(exits(migrate.migrate))
app.command("doctor")(exits(doctor.doctor))


def main() -> None:
    """Run the command line."""
    app()
