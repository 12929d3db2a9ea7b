"""What the formats have in common: they read records from a place on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from milepost.connectors.connector import Record
from milepost.connectors.files.cursors import Place


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records. `ended`: there are no more. `total` counts those of the file, if known."""

    records: Sequence[Record]
    ended: bool
    total: int | None = None


class Reader(Protocol):
    """One open file. It blocks, so it runs on a thread."""

    @property
    def found(self) -> str:
        """How the file is written, in words."""
        ...

    @property
    def place(self) -> Place:
        """Where the last record that was read ends."""
        ...

    def read(self, limit: int) -> Batch:
        """Read up to so many records."""
        ...
