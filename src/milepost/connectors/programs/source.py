"""What the descriptions of all programs say: templates, never secrets."""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import ConfigDict

from milepost.connectors.fields import CHECKED, Count, Duration
from milepost.connectors.templates import refuse_plain


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramSource:
    """A program that runs where the worker runs.

    The texts in `config` and `environment` are templates: `$NAME` is taken from the environment
    where the job runs.
    """

    __pydantic_config__: ClassVar[ConfigDict] = CHECKED

    config: dict[str, Any] | str = field(default_factory=dict)
    """What it is told, or the path of a JSON file that says it; such a file is taken as it is,
    without templates."""
    venv: str | None = None
    """The folder of a virtual environment that has the program."""
    package: str | None = None
    """What pip installs for it into a virtual environment of its own: `tap-github==2.0`, or several
    with spaces between."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables for it, beside those that any program needs."""
    page_size: Count = 1000
    """A page ends at a STATE once it has so many records, without one at 4 times as many."""
    max_line_bytes: Count = 64 * 1024 * 1024
    silent_within: Duration = timedelta(minutes=15)
    """A program that says nothing for so long, and is asked for more, hangs."""

    def check(self) -> None:
        """Refuse what can never work, and secrets that stand in plain text. Raises ValueError."""
        if self.venv is not None and self.package is not None:
            raise ValueError("venv names an environment and package makes one: leave out one")
        if self.package is not None and not re.fullmatch(r"([\w.][^\s]*\s*)+", self.package):
            raise ValueError(f"package must be what pip installs, not {self.package!r}")
        if not isinstance(self.config, str):
            refuse_plain(self.config, where="config")
        refuse_plain(self.environment, where="environment")
