"""What a command says: for people on a terminal, in plain lines otherwise, or as JSON."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

from pydantic_core import to_json
from rich.console import Console
from rich.table import Table

PLAIN: Final = {"markup": False, "highlight": False}


class _Console(Console):
    """Makes of a closed pipe an error like others; rich ends the process there and then."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class Output:
    """One command's voice. With `json`, only JSON goes to standard output.

    Where standard output takes no more, what says something raises OSError, once.
    """

    def __init__(self, *, json: bool = False) -> None:
        self.json = json
        self.console = _Console(soft_wrap=True)
        self._errors = _Console(stderr=True, soft_wrap=True)

    @property
    def live(self) -> bool:
        """Whether a person watches a terminal that can redraw."""
        return not self.json and self.console.is_terminal

    def say(self, text: str = "") -> None:
        """Say something to people; programs do not hear it."""
        if not self.json:
            with _to_stdout():
                self.console.print(text, markup=False, highlight=False)

    def emit(self, value: Any) -> None:
        """Give one JSON value to programs, on a line of its own."""
        if self.json:
            with _to_stdout():
                sys.stdout.write(to_json(value, fallback=str).decode() + "\n")
                sys.stdout.flush()

    def table(self, headings: list[str], rows: list[list[str]]) -> None:
        """Show a table to people; in a pipe each row is one line, for grep and awk."""
        if self.json:
            return
        if not self.console.is_terminal:
            widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
            for row in (headings, *rows):
                cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
                self.say("  ".join(cells).rstrip())
            return
        table = Table(*headings, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*(cell.replace("[", r"\[") for cell in row))
        with _to_stdout():
            self.console.print(table, soft_wrap=False)

    def error(self, text: str) -> None:
        """Say what went wrong, on standard error; as JSON also on standard output."""
        self.emit({"event": "error", "error": text})
        # Where not even this can be said, the exit code still says it.
        with contextlib.suppress(OSError):
            self._errors.print(f"milepost: {text}", style="red", markup=False, highlight=False)


@contextlib.contextmanager
def _to_stdout() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # The rest goes nowhere: else the word about this error would fail for the same reason,
        # and so would Python when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OSError(error.errno, error.strerror, "standard output") from error
