"""What the fields of a source's description are checked by."""

from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from milepost.settings import parse_duration


def _duration(given: Any) -> Any:
    """Read `30s` and the like; the rest is as pydantic has it: seconds, or ISO 8601."""
    found = parse_duration(given) if isinstance(given, str) else None
    return given if found is None else found


Count = Annotated[int, Field(ge=1)]
Duration = Annotated[
    timedelta,
    Field(gt=timedelta(0)),
    BeforeValidator(_duration),
    WithJsonSchema({"type": ["string", "number"], "description": "30s, 5m, 1h, or seconds"}),
]
Wait = Annotated[
    timedelta,
    Field(ge=timedelta(0)),
    BeforeValidator(_duration),
    WithJsonSchema({"type": ["string", "number"], "description": "30s, 5m, 1h, or seconds"}),
]

# An instance made in code is checked like one that came as JSON.
CHECKED: Final = ConfigDict(extra="forbid", revalidate_instances="always")
