"""Values as people read them."""

import json
from datetime import UTC, datetime
from typing import Any, Final

from pydantic_core import from_json

LONGEST_JSON: Final = 20_000
LONGEST_CELL: Final = 200
NOTHING: Final = "\N{EN DASH}"

_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"))


def spell_seconds(seconds: float | None) -> str:
    """Spell a length of time: 12 ms, 3.4 s, 5 min, 2 h 10 min."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{max(0, seconds) * 1000:.0f} ms"
    if seconds < _UNITS[-1][0]:
        return f"{seconds:.1f} s"
    rest = round(seconds)
    parts = []
    for size, name in _UNITS:
        if rest >= size:
            parts.append(f"{rest // size} {name}")
            rest %= size
    return " ".join(parts[:2])


def _ago(at: datetime | None, now: datetime) -> str:
    if at is None:
        return NOTHING
    seconds = (now - at).total_seconds()
    return f"in {spell_seconds(-seconds)}" if seconds < 0 else f"{spell_seconds(seconds)} ago"


def _between(begin: datetime | None, end: datetime | None) -> str:
    return NOTHING if begin is None or end is None else spell_seconds((end - begin).total_seconds())


def _remaining(estimate: Any) -> str:
    if estimate.remaining is None:
        return ""
    short, long = (spell_seconds(each.total_seconds()) for each in estimate.remaining)
    return f"{short} left" if short == long else f"{short} to {long} left"


def _pretty(text: str | None) -> str:
    if not text:
        return ""
    if len(text) > LONGEST_JSON:
        return text[:LONGEST_JSON] + " … (it is cut here; the API has all of it)"
    return json.dumps(from_json(text), indent=2, ensure_ascii=False)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= LONGEST_CELL else text[:LONGEST_CELL] + "…"


def _iso(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


FILTERS: Final = {
    "ago": _ago, "between": _between, "remaining": _remaining, "pretty": _pretty, "cell": _cell,
    "iso": _iso, "seconds": spell_seconds,
}  # fmt: skip
"""By the names that templates use."""
