"""How jobs are called and shown in BullMQ. An entry is what BullMQ calls a job."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from milepost.jobs.backoff import LONGEST_WAIT, Backoff
from milepost.jobs.leases import ClaimedJob, JobId
from milepost.jobs.names import LOWEST_PRIORITY
from milepost.jobs.outcomes import Failed, Misfit
from milepost.jobs.progress import Progress
from milepost.store.adoption import Foundling
from milepost.store.carried import CarriedJob, WaitingJob

# BullMQ counts the entries that it names itself, so ours must not look like numbers.
_OURS: Final = re.compile(r"m([1-9]\d{0,18})")
CANCELLED: Final = "cancelled"
# What the store's columns, and calendars, can hold.
MOST_ATTEMPTS: Final = 2**31 - 1
# A traceparent, a tracestate of 512 characters and what a baggage needs.
LONGEST_TRACE: Final = 8192
LONGEST_MS: Final = LONGEST_WAIT // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Keep:
    """How many finished entries stay in Redis."""

    completed: int
    failed: int


def entry_of(job: CarriedJob | ClaimedJob | WaitingJob) -> str:
    """Name a job's entry."""
    if job.broker_id is not None:
        return entry_id(job.broker_id)
    return f"m{job.lease.job_id if isinstance(job, ClaimedJob) else job.id}"


def job_id_of(entry: str) -> JobId | None:
    """The job of an entry that Milepost put there; None: another program did."""
    ours = _OURS.fullmatch(entry)
    return int(ours[1]) if ours else None


def entry_id(broker_id: str) -> str:
    """The entry's own id in what the store keeps of it."""
    return broker_id.partition(":")[2]


def broker_id_of(entry: str, added_at: str | None) -> str:
    """What the store keeps of an entry that another program added.

    With the moment it was added: an id may come again, when Redis has lost its counter or the
    program has removed the entry, and is another job then.
    """
    return f"{added_at or 0}:{entry}"


def foundling(
    queue: str, entry: str, fields: Mapping[str, str], *, default_attempts: int
) -> Foundling:
    """Read what another program added, with the options that mean something here."""
    options = _object(fields.get("opts"))
    attempts = _number(options.get("attempts")) or default_attempts
    return Foundling(
        queue=queue,
        broker_id=broker_id_of(entry, fields.get("timestamp")),
        kind=fields.get("name") or "",
        args=fields.get("data") or "{}",
        priority=min(max(0, _priority(fields, options)), LOWEST_PRIORITY),
        max_attempts=min(max(1, attempts), MOST_ATTEMPTS),
        backoff=_backoff(options.get("backoff")),
        trace=_trace(options),
    )


def _priority(fields: Mapping[str, str], options: Mapping[str, Any]) -> int:
    # The field says what it is by now, the option what it was when it was added.
    now = fields.get("priority", "")
    return int(now) if now.isdecimal() else _number(options.get("priority"))


def _backoff(given: Any) -> Backoff | None:
    """BullMQ's `fixed` and `exponential`, or a plain number of milliseconds."""
    if isinstance(given, int | float) and given:
        given = {"type": "fixed", "delay": given}
    if not isinstance(given, dict) or not _number(given.get("delay")):
        return None
    jitter = given.get("jitter")
    return Backoff(
        first=timedelta(milliseconds=min(max(0, _number(given["delay"])), LONGEST_MS)),
        factor=2.0 if given.get("type") == "exponential" else 1.0,
        jitter=min(1.0, max(0.0, float(jitter))) if isinstance(jitter, int | float) else 0.0,
    )


def _trace(options: Mapping[str, Any]) -> str | None:
    """What BullMQ's `telemetry.metadata` says, unless its producer wants it to go no further."""
    told = options.get("tm")
    if options.get("omc") or not isinstance(told, str) or len(told) > LONGEST_TRACE:
        return None
    return told


def _object(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0


def spell_progress(progress: Progress) -> str:
    """Spell progress for BullMQ's tools: `progress` is the percentage that they draw."""
    percentage = progress.percentage
    return json.dumps(
        {
            "progress": 0 if percentage is None else round(percentage, 1),
            "count": progress.count,
            "total": progress.total,
            "message": progress.message,
        },
        separators=(",", ":"),
    )


def failure_fields(outcome: Failed | Misfit) -> dict[str, str]:
    """What BullMQ keeps of a failure, or of why a job waits for a newer worker."""
    trace = outcome.traceback if isinstance(outcome, Failed) else None
    return {"failedReason": outcome.error, "stacktrace": json.dumps([trace] if trace else [])}
