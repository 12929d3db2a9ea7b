"""A request to run a definition, checked, before it is a job."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypedDict, TypeVar, Unpack, cast

from milepost.errors import PayloadInvalid, PayloadTooLarge
from milepost.jobs.backoff import LONGEST_WAIT, Backoff
from milepost.jobs.definition import JobDefinition
from milepost.jobs.flows import MOST_CHILDREN
from milepost.jobs.leases import JobId
from milepost.jobs.limits import PLAIN
from milepost.jobs.names import LONGEST_NAME, LOWEST_PRIORITY, check_queue
from milepost.jobs.outcomes import ON_FAILURE, OnFailure
from milepost.jobs.repeats import Debounce, Repeat, Throttle, check_repeat, repeat_of

A = TypeVar("A")


class Held(Protocol):
    """Somebody's hold on a job: a `JobHandle`."""

    job_id: JobId


class JobOptions(TypedDict, total=False):
    """Options of any job; those not given come from its definition.

    `priority`: 0 runs first, up to 2,097,151. `delay` or `run_at` (aware), not both.
    """

    queue: str
    priority: int
    delay: timedelta
    run_at: datetime
    max_attempts: int
    backoff: Backoff
    time_limit: timedelta
    tags: Sequence[str]
    owner: str


class SubmitOptions(JobOptions, total=False):
    """Options of a job that is nobody's child.

    `unique_key`: while an unfinished job has it, submitting again returns that job. `debounce` and
    `throttle`: see there; at most one of the three, and neither together with `after`.
    `after`: jobs, or their ids, that must have ended before it begins. `on_failure`: where one of
    them fails or is cancelled, it fails ("fail"), it fails and the others are cancelled ("cancel"),
    or it begins all the same when all have ended ("go-on").
    """

    unique_key: str
    debounce: Debounce
    throttle: Throttle
    after: Sequence[JobId | Held]
    on_failure: OnFailure


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRequest:
    """One job to be stored. `args` is JSON, checked against the definition.

    `lane` is what holds it back, as jobs/limits.py spells it. `scheduled_for`: the moment of its
    schedule that it is for. `awaited`: the job that submits it waits for it, or may.
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
    after: tuple[JobId, ...] = ()
    on_failure: OnFailure = "fail"
    awaited: bool = False

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
        self._check_flow()
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

    def _check_flow(self) -> None:
        if self.on_failure not in ON_FAILURE:
            raise PayloadInvalid(
                f"on_failure is {', '.join(map(repr, ON_FAILURE))}, not {self.on_failure!r}"
            )
        if len(self.after) > MOST_CHILDREN:
            raise PayloadInvalid(
                f"a job waits for at most {MOST_CHILDREN:,} others, not {len(self.after):,}: let "
                "jobs between wait for a part of them each"
            )
        if self.after and self.repeat is not None:
            raise PayloadInvalid(
                f"{self.kind}: a job that waits for others (after) cannot be "
                f"{self.repeat.name}; give it a kind that is not"
            )


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
        after=tuple(sorted({_job_id(each) for each in options.get("after", ())})),
        on_failure=options.get("on_failure", "fail"),
        lane=definition.lane(args, owner),
        repeat=repeat,
    )


@dataclass(frozen=True, slots=True)
class NewChild:
    """A child to be submitted; `child` makes it. `args` is JSON."""

    definition: JobDefinition[Any, Any, Any]
    args: str
    options: SubmitOptions


def child(
    definition: JobDefinition[A, Any, Any], args: A, **options: Unpack[JobOptions]
) -> NewChild:
    """Describe a job for `ctx.save(..., children=[...])`. Raises PayloadInvalid.

    It has no unique key and waits for nobody: so no job can come to wait for itself. Of a kind
    that is debounced or throttled there are no children.
    """
    unknown = options.keys() - JobOptions.__annotations__.keys()
    if unknown:
        raise PayloadInvalid(
            f"a child takes {', '.join(sorted(JobOptions.__annotations__))}, "
            f"not {', '.join(sorted(unknown))}"
        )
    if definition.debounce is not None or definition.throttle is not None:
        raise PayloadInvalid(
            f"{definition.kind} cannot be a child: it is debounced or throttled, so the job may be "
            "there already, for others; give the child a kind that is neither"
        )
    # All that a child may be given, a job may be given.
    return NewChild(definition, definition.args.dump(args), cast(SubmitOptions, options))


def _job_id(given: JobId | Held) -> JobId:
    return given if isinstance(given, int) else given.job_id
