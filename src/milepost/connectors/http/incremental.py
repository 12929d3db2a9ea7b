"""Reads what has changed since the last pass, by a field that only grows."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from milepost.connectors.connector import Cursor, Page, Record
from milepost.connectors.http.source import Incremental
from milepost.connectors.http.walk import Walk
from milepost.errors import FatalConnectorError

Value = str | float | int

# Numbers from here on count milliseconds since 1970, not seconds: in seconds it is the year 5138.
MILLISECONDS_FROM: Final = 10**11


@dataclass(frozen=True, slots=True, kw_only=True)
class SinceCursor:
    """A position in a pass that asks for what has changed since `since`.

    `newest` is the greatest value seen so far, `known` the one that was known when the pass began,
    which was at `began`. `counted`: a page of it had its place by counting.
    """

    since: Value | None = None
    newest: Value | None = None
    known: Value | None = None
    began: datetime | None = None
    counted: bool = False
    at: Any = None


_CURSOR = TypeAdapter(SinceCursor)


async def since_last(
    incremental: Incremental, walk: Callable[[Mapping[str, str]], Walk], after: Cursor
) -> AsyncGenerator[Page]:
    """Read a table after a cursor; the bookmark of its last page begins the next pass."""
    cursor = _read(after)
    if cursor.at is None:
        cursor = replace(cursor, known=cursor.newest)
    params: dict[str, str] = {}
    if cursor.since is not None:
        params[incremental.param] = _spelled(incremental, cursor.since)
    walking = walk(params)
    async with aclosing(walking.pages(cursor.at)) as pages:
        async for page in pages:
            cursor = replace(
                cursor,
                newest=_newest(incremental, page.records, cursor.newest),
                began=cursor.began or walking.began,
                counted=cursor.counted or page.counted,
                at=page.cursor,
            )
            bookmark = _bookmark(incremental, cursor) if page.last else None
            yield replace(page, cursor=_dumped(cursor), bookmark=bookmark)


def _bookmark(incremental: Incremental, cursor: SinceCursor) -> Cursor:
    """Say where the next pass begins, so that nothing is lost that changed during this one.

    What changes after its page was read is met again only if the next pass begins no later than
    this one did. And where pages are counted, a record that moves lets another slip from a page
    that is still to come to one that was read: there each pass begins where the one before began.
    """
    if cursor.newest is None:
        return None
    since = cursor.known if cursor.counted else cursor.newest
    if since is not None and cursor.began is not None:
        moment = _moment(since) if isinstance(since, str) or incremental.form != "same" else None
        if moment is not None and moment > cursor.began:
            since = _as(since, cursor.began)
    return _dumped(SinceCursor(since=since, newest=cursor.newest))


def _newest(incremental: Incremental, records: Any, newest: Value | None) -> Value | None:
    for record in records:
        value = _value(incremental, record)
        if value is not None and (newest is None or _is_later(value, newest, incremental)):
            newest = value
    return newest


def _dumped(cursor: SinceCursor) -> dict[str, Any]:
    dumped = asdict(cursor)
    return {**dumped, "began": cursor.began and cursor.began.isoformat()}


def _read(after: Cursor) -> SinceCursor:
    if after is None:
        return SinceCursor()
    try:
        return _CURSOR.validate_python(after)
    except ValidationError:
        raise FatalConnectorError(
            "the checkpoint holds no cursor of an incremental table: was the job's source "
            "changed? Submit a new job, which begins at the start"
        ) from None


def _value(incremental: Incremental, record: Record) -> Value | None:
    """Read a record's own; None where it is null: such a record only a whole pass meets again."""
    found: Any = record
    for key in [incremental.field] if incremental.field in record else incremental.field.split("."):
        if not isinstance(found, Mapping) or key not in found:
            raise FatalConnectorError(
                f"a record has no {incremental.field!r} that tells when it changed; it has "
                f"{', '.join(list(record)[:12])}: mend incremental.field"
            )
        found = found[key]
    if found is None:
        return None
    if isinstance(found, str | int | float) and not isinstance(found, bool):
        return found
    raise FatalConnectorError(
        f"{incremental.field!r} of a record is {found!r}, which tells no order: mend "
        "incremental.field"
    )


def _is_later(value: Value, newest: Value, incremental: Incremental) -> bool:
    one, other = _rank(value), _rank(newest)
    if one[0] != other[0]:
        # A word is behind every number: as a bookmark it would hide all that comes later.
        raise FatalConnectorError(
            f"{incremental.field!r} is {value!r} in one record and {newest!r} in another, so "
            "nobody knows which is later: mend incremental.field; if the source has changed, "
            "read all again with --full"
        )
    return one > other


def _rank(value: Value) -> tuple[int, float, str]:
    """Put values in order: moments and numbers by what they mean, other texts as they are."""
    if isinstance(value, str):
        moment = _moment(value)
        return (1, 0.0, value) if moment is None else (0, moment.timestamp(), "")
    return (0, float(value), "")


def _spelled(incremental: Incremental, value: Value) -> str:
    back = incremental.look_back
    if incremental.form == "same":
        if not back:
            return str(value)
        if isinstance(value, str):
            return str(_as(value, _must_be_moment(incremental, value) - back))
        seconds = back.total_seconds()
        less = seconds * 1000 if abs(value) >= MILLISECONDS_FROM else seconds
        return str(value - int(less) if isinstance(value, int) else value - less)
    seconds = (_must_be_moment(incremental, value) - back).timestamp()
    return str(int(seconds * 1000) if incremental.form == "milliseconds" else int(seconds))


def _must_be_moment(incremental: Incremental, value: Value) -> datetime:
    moment = _moment(value)
    if moment is None:
        raise FatalConnectorError(
            f"{incremental.field!r} is {value!r}, no moment for look_back or form: "
            "leave them out, or name a field that holds ISO 8601"
        )
    return moment


def _moment(value: Value) -> datetime | None:
    try:
        if not isinstance(value, str):
            seconds = value / 1000 if abs(value) >= MILLISECONDS_FROM else value
            return datetime.fromtimestamp(seconds, UTC)
        # Digits alone are a number of somebody's, though some parse as dates.
        moment = datetime.fromisoformat(value) if "-" in value[1:] else None
    except (ValueError, OverflowError, OSError):
        return None
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


def _as(pattern: Value, moment: datetime) -> Value:
    """Spell a moment as the source spells its own."""
    if not isinstance(pattern, str):
        seconds = moment.timestamp()
        return int(seconds * 1000 if abs(pattern) >= MILLISECONDS_FROM else seconds)
    own = datetime.fromisoformat(pattern)
    moment = moment.astimezone(own.tzinfo or UTC)
    if len(pattern) == len("2024-01-31"):
        return moment.date().isoformat()
    text = moment.isoformat(
        sep=pattern[len("2024-01-31")], timespec="milliseconds" if "." in pattern else "seconds"
    )
    if pattern.endswith("Z"):
        return text.removesuffix("+00:00") + "Z"
    return text if own.tzinfo else text.removesuffix("+00:00")
