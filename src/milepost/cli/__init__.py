"""The milepost command."""

from milepost.cli.main import main

__all__ = ["main"]
