"""What a command says: for people on a terminal, in plain lines otherwise, or as JSON."""

import sys
from typing import Any, Final

from pydantic_core import to_json
from rich.console import Console
from rich.table import Table

PLAIN: Final = {"markup": False, "highlight": False}


class Output:
    """One command's voice. With `json`, only JSON goes to standard output."""

    def __init__(self, *, json: bool = False) -> None:
        self.json = json
        self.console = Console(soft_wrap=True)
        self._errors = Console(stderr=True, soft_wrap=True)

    @property
    def live(self) -> bool:
        """Whether a person watches a terminal that can redraw."""
        return not self.json and self.console.is_terminal

    def say(self, text: str = "") -> None:
        """Say something to people; programs do not hear it."""
        if not self.json:
            self.console.print(text, markup=False, highlight=False)

    def emit(self, value: Any) -> None:
        """Give one JSON value to programs, on a line of its own."""
        if self.json:
            sys.stdout.write(to_json(value, fallback=str).decode() + "\n")
            sys.stdout.flush()

    def table(self, headings: list[str], rows: list[list[str]]) -> None:
        """Show a table to people."""
        if self.json:
            return
        table = Table(*headings, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*(cell.replace("[", r"\[") for cell in row))
        self.console.print(table, soft_wrap=False)

    def error(self, text: str) -> None:
        """Say what went wrong, on standard error; as JSON also on standard output."""
        self.emit({"event": "error", "error": text})
        self._errors.print(f"milepost: {text}", style="red", markup=False, highlight=False)
