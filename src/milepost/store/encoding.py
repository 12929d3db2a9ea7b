"""How the store spells things: requests, settlements, back-offs and progress as columns."""

from datetime import timedelta
from typing import Any, Final

from pydantic_core import from_json, to_json
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Float,
    FromClause,
    Integer,
    Text,
    case,
    cast,
)

from milepost.jobs.backoff import LONGEST_WAIT, Backoff
from milepost.jobs.leases import Settlement
from milepost.jobs.outcomes import (
    Completed,
    Crashed,
    Failed,
    Misfit,
    Snoozed,
    crashed_too_often,
    next_state,
)
from milepost.jobs.payloads import Payload
from milepost.jobs.progress import Part, Progress
from milepost.jobs.requests import JobRequest
from milepost.store.clock import Clock
from milepost.store.moments import Moment

SUBMITTED: Final = {
    "kind": Text,
    "queue": Text,
    "priority": Integer,
    "args": Text,
    "max_attempts": Integer,
    "backoff": Text,
    "time_limit": Float,
    "unique_key": Text,
    "tags": Text,
    "owner": Text,
    "trace": Text,
    "lane": Text,
    "repeat_key": Text,
    "delay": Float,
    "run_at": Text,
    "scheduled_for": Text,
    "waits": Integer,
    "awaited": Integer,
}

# Most requests have none of these; a statement for those does not look for them.
RARE: Final = (
    "backoff", "time_limit", "unique_key", "tags", "owner", "trace", "lane", "repeat_key",
    "scheduled_for",
)  # fmt: skip

SETTLED: Final = {
    "id": BigInteger,
    "attempt": Integer,
    "state": Text,
    "result": Text,
    "error": Text,
    "failed": Integer,
    "delay": Float,
    "outcome": Text,
    "traceback": Text,
    # Given of crashes only.
    "most_rescues": Integer,
    "last_error": Text,
}

_backoff: Final = Payload[Backoff]("backoff", Backoff)


def storable(text: str) -> str:
    """Make any text one that every database takes.

    PostgreSQL has no NUL character, and nobody encodes half a surrogate pair: an error message
    that holds one must not cost the error itself.
    """
    if "\x00" in text:
        text = text.replace("\x00", "\\x00")
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()


def encode_request(request: JobRequest) -> dict[str, Any]:
    """Spell a request as a row of SUBMITTED; the moment becomes UTC text."""
    return {
        "kind": request.kind,
        "queue": request.queue,
        "priority": request.priority,
        "args": request.args,
        "max_attempts": request.max_attempts,
        "backoff": encode_backoff(request.backoff),
        "time_limit": request.time_limit and request.time_limit.total_seconds(),
        "unique_key": request.unique_key and storable(request.unique_key),
        "tags": to_json(request.tags).decode() if request.tags else None,
        "owner": request.owner and storable(request.owner),
        "trace": request.trace,
        "lane": request.lane,
        "repeat_key": request.repeat and storable(request.repeat.key),
        "delay": 0.0 if request.delay is None else _bounded(request.delay),
        "run_at": request.run_at and Moment.spell(request.run_at),
        "scheduled_for": request.scheduled_for and Moment.spell(request.scheduled_for),
        "waits": int(bool(request.after)),
        "awaited": int(request.awaited),
    }


def encode_settlement(settlement: Settlement) -> dict[str, Any]:
    """Spell a settlement as a row of SETTLED.

    An outcome that cannot be spelled is a failure: it must not keep the others of its batch, and
    its own job, from ever ending.
    """
    try:
        return _spell(settlement)
    except Exception as error:  # noqa: BLE001 (whatever a handler found to give back)
        what = type(settlement.outcome).__name__
        return _spell(Settlement(settlement.job, Failed(f"{what} could not be stored: {error!r}")))


def _spell(settlement: Settlement) -> dict[str, Any]:
    job, outcome = settlement.job, settlement.outcome
    error = traceback = most_rescues = last_error = None
    delay = 0.0
    match outcome:
        case Failed(error=message, traceback=trace):
            error, traceback = storable(message), trace and storable(trace)
            delay = _bounded(settlement.retry_after)
        case Crashed(error=message, traceback=trace):
            error, traceback = storable(message), trace and storable(trace)
            most_rescues = settlement.most_rescues
            last_error = storable(crashed_too_often(outcome, most_rescues).error)
        case Misfit(error=message):
            error, delay = storable(message), _bounded(settlement.retry_after)
        case Snoozed(after=after, reason=reason):
            error = reason and storable(reason)
            delay = _bounded(after)
        case _:
            pass
    return {
        "id": job.lease.job_id,
        "attempt": job.lease.attempt,
        "state": next_state(outcome, attempts_left=job.attempts_left),
        "result": outcome.result if isinstance(outcome, Completed) else None,
        "error": error,
        "failed": int(isinstance(outcome, Failed)),
        "delay": delay,
        "outcome": type(outcome).__name__.lower(),
        "traceback": traceback,
        "most_rescues": most_rescues,
        "last_error": last_error,
    }


def _bounded(wait: timedelta) -> float:
    """Seconds from none to a hundred years: past that, calendars end and statements fail."""
    return max(0.0, min(wait, LONGEST_WAIT).total_seconds())


def moment_of(dialect: str, spelled: ColumnElement[Any]) -> Any:
    """Read a spelled moment inside a statement."""
    if dialect == "sqlite":
        return spelled
    return cast(spelled + "+00", DateTime(timezone=True))


def due(dialect: str, clock: Clock, given: FromClause) -> Any:
    """The moment before which a job of a batch does not run, by its `run_at` or its `delay`."""
    return case(
        (given.c.run_at.is_not(None), moment_of(dialect, given.c.run_at)),
        else_=clock.later(dialect, given.c.delay),
    )


def encode_backoff(backoff: Backoff | None) -> str | None:
    """Spell a job's own back-off; None where it has its definition's."""
    return None if backoff is None else _backoff.dump(backoff)


def decode_backoff(stored: str | None) -> Backoff | None:
    """Read a job's own back-off; None where it has its definition's."""
    return None if stored is None else _backoff.load(stored)


def encode_progress(progress: Progress) -> str:
    """Spell progress as JSON, its parts as pairs."""
    return to_json(
        {
            "count": progress.count,
            "total": progress.total,
            "message": progress.message and storable(progress.message),
            "parts": {
                storable(name): (part.count, part.total) for name, part in progress.parts.items()
            },
        }
    ).decode()


def decode_progress(stored: str | None) -> Progress | None:
    """Read progress back."""
    if stored is None:
        return None
    fields = from_json(stored)
    parts = {name: Part(*pair) for name, pair in fields["parts"].items()}
    return Progress(fields["count"], fields["total"], fields["message"], parts)
