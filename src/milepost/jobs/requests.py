"""A request to run a definition, checked, before it is a job."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict

from milepost.errors import PayloadInvalid, PayloadTooLarge
from milepost.jobs.backoff import LONGEST_WAIT, Backoff
from milepost.jobs.definition import JobDefinition
from milepost.jobs.limits import PLAIN
from milepost.jobs.names import LONGEST_NAME, check_queue
from milepost.jobs.repeats import Debounce, Repeat, Throttle, check_repeat, repeat_of

# BullMQ's range, so that one number means one thing on both brokers.
LOWEST_PRIORITY = 2**21 - 1


class SubmitOptions(TypedDict, total=False):
    """Options of one job; those not given come from its definition.

    `priority`: 0 runs first, up to 2,097,151. `delay` or `run_at` (aware), not both.
    `unique_key`: while an unfinished job has it, submitting again returns that job. `debounce` and
    `throttle`: see there; at most one of the three.
    """

    queue: str
    priority: int
    delay: timedelta
    run_at: datetime
    max_attempts: int
    backoff: Backoff
    time_limit: timedelta
    unique_key: str
    tags: Sequence[str]
    owner: str
    debounce: Debounce
    throttle: Throttle


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRequest:
    """One job to be stored. `args` is JSON, checked against the definition.

    `lane` is what holds it back, as jobs/limits.py spells it. `scheduled_for`: the moment of its
    schedule that it is for.
    """

    kind: str
    args: str
    queue: str
    priority: int
    max_attempts: int
    delay: timedelta | None = None
    run_at: datetime | None = None
    backoff: Backoff | None = None
    time_limit: timedelta | None = None
    unique_key: str | None = None
    tags: tuple[str, ...] = ()
    owner: str | None = None
    trace: str | None = None
    lane: str = PLAIN
    repeat: Repeat | None = None
    scheduled_for: datetime | None = None

    def __post_init__(self) -> None:
        check_priority(self.priority)
        if self.max_attempts < 1:
            raise PayloadInvalid(f"max_attempts must be at least 1, not {self.max_attempts}")
        if self.delay is not None and self.run_at is not None:
            raise PayloadInvalid("give delay or run_at, not both")
        if self.run_at is not None and self.run_at.tzinfo is None:
            raise PayloadInvalid(f"run_at needs a time zone: {self.run_at}")
        if self.time_limit is not None and not timedelta(0) < self.time_limit <= LONGEST_WAIT:
            raise PayloadInvalid(
                f"time_limit must be positive and at most {LONGEST_WAIT}, not {self.time_limit}"
            )
        if self.repeat is not None and self.unique_key is not None:
            raise PayloadInvalid("give unique_key or debounce or throttle, not two of them")
        if self.repeat is not None and self.repeat.debounced and self.run_at is not None:
            raise PayloadInvalid("give debounce or run_at, not both: a debounce says when")
        try:
            check_queue(self.queue)
        except ValueError as error:
            raise PayloadInvalid(str(error)) from None
        key = self.unique_key
        if key is not None and not 0 < len(key) <= LONGEST_NAME:
            raise PayloadInvalid(f"unique_key must have 1 to {LONGEST_NAME} characters: {key!r}")


def check_priority(priority: int) -> None:
    """Refuse a number that is no priority. Raises PayloadInvalid."""
    if not 0 <= priority <= LOWEST_PRIORITY:
        raise PayloadInvalid(f"priority is 0 to {LOWEST_PRIORITY:,}, not {priority}")


def request(
    definition: JobDefinition[Any, Any, Any],
    args: str,
    options: SubmitOptions,
    *,
    largest: int,
) -> JobRequest:
    """Join a definition's defaults, checked args (JSON) and one job's options.

    Raises PayloadInvalid, or PayloadTooLarge past `largest` bytes.
    """
    if len(args) * 4 > largest and (size := len(args.encode())) > largest:
        raise PayloadTooLarge(definition.args.what, size, largest)
    unknown = options.keys() - SubmitOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"no such submit options: {', '.join(sorted(unknown))}")
    owner = options.get("owner")
    debounce, throttle = options.get("debounce"), options.get("throttle")
    if debounce is None and throttle is None:
        debounce, throttle = definition.debounce, definition.throttle
    else:
        check_repeat(definition.kind, debounce, throttle)
    repeat = repeat_of(
        definition.kind, debounce, throttle, lambda: definition.args.load(args), owner
    )
    return JobRequest(
        kind=definition.kind,
        args=args,
        queue=options.get("queue", definition.queue),
        priority=options.get("priority", definition.priority),
        max_attempts=options.get("max_attempts", definition.max_attempts),
        delay=options.get("delay", None if debounce is None else debounce.window),
        run_at=options.get("run_at"),
        backoff=options.get("backoff"),
        time_limit=options.get("time_limit", definition.time_limit),
        unique_key=options.get("unique_key"),
        tags=tuple(options.get("tags", ())),
        owner=owner,
        lane=definition.lane(args, owner),
        repeat=repeat,
    )
