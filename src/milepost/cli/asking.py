"""What a command asks a person, or reads from its standard input."""

import sys

import typer

from milepost.errors import ConfigurationError


def read_secret(name: str) -> str:
    """Read a value that nobody sees: from a prompt, or else one line of standard input."""
    if sys.stdin.isatty():
        value: str = typer.prompt(name, hide_input=True, err=True, default="", show_default=False)
    else:
        value = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    if not value:
        raise ConfigurationError(
            f"no value for {name}: type it at the prompt, or give one line for each on standard "
            "input, such as `… < file`"
        )
    return value


def confirm(question: str, *, yes: bool) -> bool:
    """Ask on a terminal; elsewhere `--yes` must have answered already."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{question} Nobody is here to be asked: say --yes")
    return bool(typer.confirm(question, err=True))
