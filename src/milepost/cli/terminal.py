"""What only a terminal needs: rich takes long to load, and a pipe has no colours."""

import errno
import os

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text


class Terminal(Console):
    """Makes of a closed pipe an error like others; rich ends the process there and then."""

    def on_broken_pipe(self) -> None:
        """Raise what a write to it raises."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class _Count(ProgressColumn):
    """`1,200/5,000`, or only `1,200` where the total is unknown."""

    def render(self, task: Task) -> Text:
        done = f"{int(task.completed):,}"
        return Text(done if task.total is None else f"{done}/{int(task.total):,}")


def bars(console: Console) -> Progress:
    """Make the bars of a job's parts."""
    return Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(),
        _Count(),
        TextColumn("{task.fields[note]}", style="dim"),
        console=console,
    )


def table(headings: list[str], rows: list[list[str]]) -> Table:
    """Make a table without lines."""
    made = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        made.add_row(*(cell.replace("[", r"\[") for cell in row))
    return made
