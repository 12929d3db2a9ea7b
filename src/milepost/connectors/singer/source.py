"""A Singer tap as data that may stand in a job's args: templates, never secrets."""

from dataclasses import dataclass, field
from typing import Literal

from milepost.connectors.programs.source import ProgramSource


@dataclass(frozen=True, kw_only=True, slots=True)
class SingerSource(ProgramSource):
    """The streams of a tap."""

    tap: str
    """A program's name, as `tap-github`, or its path."""
    kind: Literal["singer"] = "singer"
    catalog: str | None = None
    """The path of a catalog. None: ask the tap for it, and take all of it."""
    catalog_argument: Literal["--catalog", "--properties"] = "--catalog"
    """How the tap takes its catalog; very old ones know the second only."""
    discover: bool = True
    """False: the tap has no catalog; `tables` are its streams."""
    tables: tuple[str, ...] = ()
    """Which streams. Empty: those that the catalog selects, or all."""
    select_with: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Streams that a tap has to read too before it can read this one."""

    def __post_init__(self) -> None:
        """Refuse what can never work, and secrets that stand in plain text."""
        if not self.tap or self.tap.startswith("-"):
            raise ValueError(f"tap must be a program's name or path, not {self.tap!r}")
        self.check()
        if "/" in self.tap and (self.venv is not None or self.package is not None):
            raise ValueError("in a virtual environment the tap is the name of a program")
        if not self.discover and self.catalog is None and not self.tables:
            raise ValueError("without a catalog the tables must be named")
