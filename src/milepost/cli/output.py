"""What a command says: for people on a terminal, in plain lines otherwise, or as JSON."""

import contextlib
import os
import sys
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import typer
from pydantic_core import to_json

if TYPE_CHECKING:
    from milepost.cli.terminal import Terminal


class Output:
    """One command's voice. With `json`, only JSON goes to standard output.

    Where standard output takes no more, what says something raises OSError, once.
    """

    def __init__(self, *, json: bool = False) -> None:
        self.json = json

    @cached_property
    def terminal(self) -> "Terminal":
        """What draws on a terminal."""
        from milepost.cli.terminal import Terminal

        return Terminal(soft_wrap=True)

    @property
    def live(self) -> bool:
        """Whether a person watches a terminal that can redraw."""
        return not self.json and sys.stdout.isatty()

    def say(self, text: str = "") -> None:
        """Say something to people; programs do not hear it."""
        if self.json:
            return
        with _to_stdout():
            # Bars that move must know of it.
            if "terminal" in vars(self):
                self.terminal.print(text, markup=False, highlight=False, emoji=False)
            else:
                sys.stdout.write(text + "\n")
                sys.stdout.flush()

    def emit(self, value: Any) -> None:
        """Give one JSON value to programs, on a line of its own."""
        if self.json:
            with _to_stdout():
                sys.stdout.write(to_json(value, fallback=str).decode() + "\n")
                sys.stdout.flush()

    def table(self, headings: list[str], rows: list[list[str]]) -> None:
        """Show a table to people; in a pipe each row is one line, for grep and awk."""
        if self.live:
            from milepost.cli.terminal import table

            with _to_stdout():
                self.terminal.print(table(headings, rows), soft_wrap=False)
            return
        widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
        for row in (headings, *rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.say("  ".join(cells).rstrip())

    def error(self, text: str) -> None:
        """Say what went wrong, on standard error; as JSON also on standard output."""
        self.emit({"event": "error", "error": text})
        line = f"milepost: {text}"
        # Where not even this can be said, the exit code still says it.
        with contextlib.suppress(OSError):
            coloured = sys.stderr.isatty() and "NO_COLOR" not in os.environ
            typer.secho(line, fg="red" if coloured else None, err=True)


@contextlib.contextmanager
def _to_stdout() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # The rest goes nowhere: else the word about this error would fail for the same reason,
        # and so would Python when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OSError(error.errno, error.strerror, "standard output") from error
