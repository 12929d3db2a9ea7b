"""What a job is: its kind, its types, its handler and its options."""

import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Concatenate, Final, Generic, Literal, ParamSpec, TypeVar, overload

from milepost.errors import DefinitionInvalid, PayloadInvalid
from milepost.jobs.backoff import LONGEST_WAIT, Backoff
from milepost.jobs.context import JobContext, SyncJobContext
from milepost.jobs.limits import PLAIN, Key, Limit, Steering, check_key
from milepost.jobs.names import check_queue
from milepost.jobs.payloads import Payload
from milepost.jobs.repeats import Debounce, Throttle, check_repeat
from milepost.jobs.retention import Retention, check_retention
from milepost.jobs.rules import Rule
from milepost.jobs.schedules import Schedule

A = TypeVar("A")
C = TypeVar("C")
R = TypeVar("R")
P = ParamSpec("P")

AsyncHandler = Callable[Concatenate[JobContext[C], A, ...], Awaitable[R]]
SyncHandler = Callable[Concatenate[SyncJobContext[C], A, ...], R]

PoolName = Literal["coroutine", "thread", "process"]
"""Where a handler runs."""

# A Python with Milepost in it takes 60 to 90 million bytes before any handler has begun.
LEAST_MEMORY: Final = 128_000_000

KIND = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


class JobDefinition(Generic[A, C, R]):
    """The typed description of a kind of job.

    Args, checkpoint and result are dataclasses, TypedDicts, pydantic models or plain JSON
    types; a job begins with `checkpoint()`, so its fields need defaults. Keyword-only parameters
    of the handler are services, found by their annotated type.

    `pool` is where the handler runs: coroutines with `async def`, threads with `def`, and child
    processes with either. `time_limit`, `cpu_limit`, `silence_limit` (no save and no progress for
    so long) and `memory_limit` (bytes, of a child process) end an attempt as failed.

    `concurrency` is what one worker runs at once. `limits` hold across all workers, and `turns`
    lets owners, or whatever that key names, begin one job each in turn.
    With a `schedule` (Cron, Every, or a Schedule with options) workers submit its jobs by
    themselves, under the name of its kind. `retention` is what stays in the history.

    Without a handler (None) the jobs of its queue are run by another program's BullMQ workers.
    """

    def __init__(
        self,
        kind: str,
        *,
        args: type[A],
        checkpoint: type[C],
        result: type[R],
        handler: AsyncHandler[C, A, R] | SyncHandler[C, A, R] | None,
        queue: str = "default",
        priority: int = 0,
        max_attempts: int = 3,
        backoff: Backoff | None = None,
        time_limit: timedelta | None = None,
        cpu_limit: timedelta | None = None,
        silence_limit: timedelta | None = None,
        memory_limit: int | None = None,
        pool: PoolName | None = None,
        concurrency: int | None = None,
        limits: Sequence[Limit] = (),
        turns: Key = None,
        debounce: Debounce | None = None,
        throttle: Throttle | None = None,
        schedule: Schedule | Rule | None = None,
        retention: Retention | None = None,
    ) -> None:
        if not KIND.fullmatch(kind):
            raise DefinitionInvalid(
                f"kind {kind!r}: use lower-case letters, digits, '-', '_' and '.', at most 100"
            )
        if max_attempts < 1:
            raise DefinitionInvalid(f"{kind}: max_attempts must be at least 1, not {max_attempts}")
        for name, limit in (
            ("time_limit", time_limit), ("cpu_limit", cpu_limit), ("silence_limit", silence_limit)
        ):  # fmt: skip
            if limit is not None and not timedelta(0) < limit <= LONGEST_WAIT:
                raise DefinitionInvalid(
                    f"{kind}: {name} must be positive and at most {LONGEST_WAIT}, not {limit}"
                )
        try:
            check_queue(queue)
        except ValueError as error:
            raise DefinitionInvalid(f"{kind}: {error}") from None
        if concurrency is not None and concurrency < 1:
            raise DefinitionInvalid(f"{kind}: concurrency must be at least 1, not {concurrency}")
        self.kind = kind
        self.args: Payload[A] = Payload(f"args of {kind}", args)
        self.checkpoint: Payload[C] = Payload(f"checkpoint of {kind}", checkpoint)
        self.result: Payload[R] = Payload(f"result of {kind}", result)
        self.checkpoint.check_initial()
        self.runs_here = handler is not None
        self.handler: Callable[..., Any] = handler or _runs_elsewhere
        self.is_async = inspect.iscoroutinefunction(_called(self.handler))
        self.services = _services(kind, self.handler)
        self.queue = queue
        self.priority = priority
        self.max_attempts = max_attempts
        self.backoff = backoff or Backoff()
        self.time_limit = time_limit
        self.cpu_limit = cpu_limit
        self.silence_limit = silence_limit
        self.memory_limit = memory_limit
        self.concurrency = concurrency
        check_key(kind, "turns", turns)
        check_repeat(kind, debounce, throttle)
        check_retention(kind, retention)
        self.retention = retention
        self.debounce = debounce
        self.throttle = throttle
        self._steering = Steering(kind, limits, turns)
        if self._steering and not self.runs_here:
            raise DefinitionInvalid(
                f"{kind}: another program runs it, which knows no limits or turns of Milepost: set "
                "those of BullMQ"
            )
        self.pool: PoolName = pool or ("coroutine" if self.is_async else "thread")
        self._check_pool()
        self.schedule = _scheduled(kind, self.args, schedule)

    @property
    def steered(self) -> bool:
        """Whether limits or turns may hold its jobs back."""
        return bool(self._steering)

    def lane(self, args: str, owner: str | None) -> str:
        """Compute what holds a job back. `args` is JSON. Raises PayloadInvalid."""
        if not self._steering:
            return PLAIN
        return self._steering.lane(self.args.load(args), owner)

    def _check_pool(self) -> None:
        """Refuse what the pool cannot do, instead of leaving a limit without effect."""
        fits = {"coroutine": self.is_async, "thread": not self.is_async, "process": True}
        if not fits.get(self.pool):
            can = ["coroutine" if self.is_async else "thread", "process"]
            raise DefinitionInvalid(
                f"{self.kind}: pool {self.pool!r} does not run this handler, an "
                f"{'async def' if self.is_async else 'ordinary def'}; it takes {' or '.join(can)}"
            )
        if self.cpu_limit is not None and self.pool == "coroutine":
            raise DefinitionInvalid(
                f"{self.kind}: cpu_limit needs pool='process' or a `def` handler: coroutines share "
                "one thread, whose CPU time is nobody's own"
            )
        if self.memory_limit is None:
            return
        if self.pool != "process":
            raise DefinitionInvalid(
                f"{self.kind}: memory_limit needs pool='process': threads share their memory"
            )
        if self.memory_limit < LEAST_MEMORY:
            raise DefinitionInvalid(
                f"{self.kind}: memory_limit must be at least {LEAST_MEMORY:,} bytes, not "
                f"{self.memory_limit:,}: the process itself needs most of that"
            )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.kind}>"


class AsyncJob(JobDefinition[A, C, R], Generic[A, C, R, P]):
    """A definition made of an `async def` handler; calling it calls the handler."""

    def __call__(
        self, ctx: JobContext[C], args: A, *rest: P.args, **services: P.kwargs
    ) -> Awaitable[R]:
        """Call the handler directly, as a test does."""
        called: Awaitable[R] = self.handler(ctx, args, *rest, **services)
        return called


class SyncJob(JobDefinition[A, C, R], Generic[A, C, R, P]):
    """A definition made of a `def` handler; calling it calls the handler."""

    def __call__(self, ctx: SyncJobContext[C], args: A, *rest: P.args, **services: P.kwargs) -> R:
        """Call the handler directly, as a test does."""
        returned: R = self.handler(ctx, args, *rest, **services)
        return returned


class _Define:
    """The decorator that `job(...)` returns."""

    def __init__(self, kind: str, options: dict[str, Any]) -> None:
        self._kind = kind
        self._options = options

    @overload
    def __call__(
        self, handler: Callable[Concatenate[JobContext[C], A, P], Awaitable[R]]
    ) -> AsyncJob[A, C, R, P]: ...

    @overload
    def __call__(
        self, handler: Callable[Concatenate[SyncJobContext[C], A, P], R]
    ) -> SyncJob[A, C, R, P]: ...

    def __call__(self, handler: Callable[..., Any]) -> JobDefinition[Any, Any, Any]:
        checkpoint, args, result = _declared(self._kind, handler)
        made = AsyncJob if inspect.iscoroutinefunction(_called(handler)) else SyncJob
        definition: JobDefinition[Any, Any, Any] = made(
            self._kind,
            args=args,
            checkpoint=checkpoint,
            result=result,
            handler=handler,
            **self._options,
        )
        definition.__doc__ = handler.__doc__
        return definition


def job(
    kind: str,
    *,
    queue: str = "default",
    priority: int = 0,
    max_attempts: int = 3,
    backoff: Backoff | None = None,
    time_limit: timedelta | None = None,
    cpu_limit: timedelta | None = None,
    silence_limit: timedelta | None = None,
    memory_limit: int | None = None,
    pool: PoolName | None = None,
    concurrency: int | None = None,
    limits: Sequence[Limit] = (),
    turns: Key = None,
    debounce: Debounce | None = None,
    throttle: Throttle | None = None,
    schedule: Schedule | Rule | None = None,
    retention: Retention | None = None,
) -> _Define:
    """Define a job from a handler; args, checkpoint and result types are its annotations.

    Raises DefinitionInvalid where they are missing or cannot be JSON.
    """
    return _Define(
        kind,
        {
            "queue": queue,
            "priority": priority,
            "max_attempts": max_attempts,
            "backoff": backoff,
            "time_limit": time_limit,
            "cpu_limit": cpu_limit,
            "silence_limit": silence_limit,
            "memory_limit": memory_limit,
            "pool": pool,
            "concurrency": concurrency,
            "limits": limits,
            "turns": turns,
            "debounce": debounce,
            "throttle": throttle,
            "schedule": schedule,
            "retention": retention,
        },
    )


def _declared(kind: str, handler: Callable[..., Any]) -> tuple[Any, Any, Any]:
    hints = _hints(kind, handler)
    positional = [
        parameter.name
        for parameter in inspect.signature(handler).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    wanted = JobContext if inspect.iscoroutinefunction(_called(handler)) else SyncJobContext
    if len(positional) != 2 or any(name not in hints for name in positional):  # noqa: PLR2004
        raise DefinitionInvalid(
            f"{kind}: the handler takes (ctx: {wanted.__name__}[Checkpoint], args: Args) and then "
            f"only keyword-only services, all annotated; it takes {inspect.signature(handler)}"
        )
    context, args = (hints[name] for name in positional)
    if typing.get_origin(context) is not wanted:
        raise DefinitionInvalid(
            f"{kind}: ctx must be annotated {wanted.__name__}[Checkpoint], not {context}"
        )
    if "return" not in hints:
        raise DefinitionInvalid(f"{kind}: the handler needs a return annotation (-> None will do)")
    return typing.get_args(context)[0], args, hints["return"]


def _scheduled(kind: str, args: Payload[Any], given: Schedule | Rule | None) -> Schedule | None:
    """Check that a schedule's args fit, so that a mistake shows now and not at night."""
    if given is None:
        return None
    schedule = given if isinstance(given, Schedule) else Schedule(given)
    try:
        scheduled_args(args, schedule)
    except PayloadInvalid as error:
        raise DefinitionInvalid(f"{kind}: its schedule: {error}") from None
    return schedule


def scheduled_args(args: Payload[Any], schedule: Schedule) -> str:
    """Spell the args of a schedule's jobs as JSON. Raises PayloadInvalid."""
    if schedule.args is not None:
        return args.dump(schedule.args)
    try:
        return args.dump(args.initial())
    except (TypeError, ValueError, PayloadInvalid) as error:
        raise PayloadInvalid(
            f"{args.what} have no default: give Schedule(…, args=…) ({error})"
        ) from None


def _called(handler: Any) -> Callable[..., Any]:
    """The function that is called: an object's is its `__call__`, unless it stands for another."""
    itself = inspect.isroutine(handler) or hasattr(handler, "__wrapped__")
    called: Callable[..., Any] = handler if itself else handler.__call__
    return called


def _runs_elsewhere(ctx: Any, args: Any) -> Any:  # noqa: ARG001
    raise DefinitionInvalid("this kind has no handler here: another program runs it")


def _services(kind: str, handler: Callable[..., Any]) -> Mapping[str, Any]:
    keyword_only = [
        parameter.name
        for parameter in inspect.signature(handler).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
    ]
    if not keyword_only:
        return {}
    hints = _hints(kind, handler)
    for name in keyword_only:
        if name not in hints:
            raise DefinitionInvalid(
                f"{kind}: service {name!r} needs a type annotation; it is found by its type"
            )
    return {name: hints[name] for name in keyword_only}


def _hints(kind: str, handler: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(_called(handler))
    except NameError as error:
        raise DefinitionInvalid(
            f"{kind}: an annotation of the handler cannot be resolved: {error}; "
            "import it at run time and at module level"
        ) from None
