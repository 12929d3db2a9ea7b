"""A dlt source as data that may stand in a job's args: templates, never secrets."""

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

from milepost.connectors.fields import CHECKED, Count
from milepost.connectors.templates import refuse_plain


@dataclass(frozen=True, kw_only=True, slots=True)
class DltSource:
    """The resources of a dlt source, which the worker must be able to import.

    The texts in `arguments` are templates: `$NAME` is taken from the environment where the job
    runs.
    """

    __pydantic_config__: ClassVar[ConfigDict] = CHECKED

    source: str
    """`module.name` of a source or resource, or the name of one that dlt has: `sql_database`."""
    kind: Literal["dlt"] = "dlt"
    arguments: dict[str, Any] = field(default_factory=dict)
    tables: tuple[str, ...] = ()
    """Which resources. Empty: those that the source selects."""
    page_size: Count = 1000
    """A page has at least so many records, and at most 4 times as many."""

    def __post_init__(self) -> None:
        """Refuse what can never work, and secrets that stand in plain text."""
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", self.source):
            raise ValueError(f"source must be module.name of a dlt source, not {self.source!r}")
        refuse_plain(self.arguments, where="arguments")
