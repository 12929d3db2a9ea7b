"""What to copy where."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from milepost.connectors import (
    AnySource,
)
from milepost.connectors.database_templates import plain_password
from milepost.downloads.children import Child
from milepost.snapshots import (
    Mode,
)

# What waits is asked for again after a crash, and must not delay a stop.
LONGEST_WAIT: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class DownloadRecords:
    """What to copy where. All of it may be stored: secrets stand as `$NAME`."""

    source: AnySource
    into: str
    """The database of the snapshot: the path of a SQLite file, or a URL, `user:$PASSWORD@host`."""
    tables: tuple[str, ...] = ()
    """Empty: all that the source has, and all children."""
    children: Mapping[str, Child] = field(default_factory=dict)
    """By their names: tables of what is inside of others' records."""
    key: tuple[str, ...] | None = None
    """The fields that tell records apart. None: what the source says, else `id`."""
    mode: Mode | None = None
    """None: upsert. `append` and `replace` are for records without a key."""
    allow_mass_deletion: bool = False
    """Believe a source that no longer has all the records of a table, or half of them."""
    anew: bool = False
    """Read all of a source that could give what is new since the last time."""
    history: bool = False
    """Keep the older versions of each row, in a table beside its own."""
    quarantine_limit: int = 100
    """How many records of one table may wait in quarantine before the job fails."""
    commit_within: float = 0.1
    """Seconds that small pages may wait for each other, to be committed together; 0: never."""

    def __post_init__(self) -> None:
        """Refuse a password in plain text."""
        problem = plain_password(self.into, "into")
        if problem is not None:
            raise ValueError(problem)
        if self.quarantine_limit < 0:
            raise ValueError(f"quarantine_limit is {self.quarantine_limit}: 0 or more is allowed")
        if not 0 <= self.commit_within <= LONGEST_WAIT:
            raise ValueError(
                f"commit_within is {self.commit_within}: 0 to {LONGEST_WAIT:g} seconds are allowed"
            )
