"""What `milepost doctor` finds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was checked. `todo` says what to do where it is not well."""

    what: str
    well: bool
    said: str
    todo: str = ""
