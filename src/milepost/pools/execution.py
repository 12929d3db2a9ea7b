"""Runs one handler and says how it ended. The same for every pool."""

import asyncio
import contextlib
import re
import traceback
from typing import Any, Final

from milepost.errors import (
    AttemptStopped,
    ConfigurationError,
    JobCancelled,
    JobInterrupted,
    LeaseLost,
    LimitExceeded,
    PayloadInvalid,
    PayloadTooLarge,
    ServiceMissing,
    Snooze,
    Unrecoverable,
    WaitsForChildren,
)
from milepost.jobs.context import InputsInvalid, JobContext, SyncJobContext, load_checkpoint
from milepost.jobs.outcomes import (
    Cancelled,
    Completed,
    Failed,
    Interrupted,
    Misfit,
    Outcome,
    Snoozed,
    Waiting,
)
from milepost.pools.attempt import Attempt
from milepost.services import svcs

LONGEST_TRACEBACK: Final = 20_000
# Values may have line breaks, so a row ends where the next part of the message begins.
_ROW: Final = re.compile(
    r"(\nDETAIL:  (?:Failing row contains|Key \()).*?(?=\n[A-Z]+:  |\n\[SQL: |\n\n|\Z)", re.DOTALL
)


async def run_coroutine(
    attempt: Attempt, container: svcs.Container | None = None
) -> Outcome | None:
    """Run an `async def` handler; None: the lease is lost, there is nothing to settle.

    Its services come from the container, or from one that lives as long as the attempt.
    """
    with attempt.entered():
        try:
            return await _coroutine(attempt, container)
        except BaseException as error:  # noqa: BLE001 (every end of a handler is an outcome)
            return outcome_of(attempt, error)


async def _coroutine(attempt: Attempt, container: svcs.Container | None) -> Outcome:
    attempt.begin()
    args, checkpoint = _inputs(attempt)
    definition = attempt.definition
    ctx = JobContext[Any](attempt, definition.checkpoint, checkpoint)
    if not definition.services:
        return _completed(attempt, await definition.handler(ctx, args))
    async with _kept(container) or svcs.Container(attempt.around.services) as source:
        services = {
            name: await _aget(source, name, wanted, definition.kind)
            for name, wanted in definition.services.items()
        }
        return _completed(attempt, await definition.handler(ctx, args, **services))


def run_function(attempt: Attempt, container: svcs.Container | None = None) -> Outcome | None:
    """Run a `def` handler; see `run_coroutine`."""
    with attempt.entered():
        try:
            return _function(attempt, container)
        except BaseException as error:  # noqa: BLE001 (every end of a handler is an outcome)
            return outcome_of(attempt, error)


def _function(attempt: Attempt, container: svcs.Container | None) -> Outcome:
    attempt.begin()
    args, checkpoint = _inputs(attempt)
    definition = attempt.definition
    ctx = SyncJobContext[Any](attempt, definition.checkpoint, checkpoint)
    if not definition.services:
        return _completed(attempt, definition.handler(ctx, args))
    with _kept(container) or svcs.Container(attempt.around.services) as source:
        services = {
            name: _get(source, name, wanted, definition.kind)
            for name, wanted in definition.services.items()
        }
        return _completed(attempt, definition.handler(ctx, args, **services))


def _kept(container: svcs.Container | None) -> contextlib.nullcontext[svcs.Container] | None:
    """Use a container that somebody else will close."""
    return None if container is None else contextlib.nullcontext(container)


def _inputs(attempt: Attempt) -> tuple[Any, Any]:
    definition, job = attempt.definition, attempt.job
    try:
        args = definition.args.load(job.args, exact=True)
    except PayloadInvalid as error:
        raise InputsInvalid(str(error)) from None
    return args, load_checkpoint(definition.checkpoint, job.checkpoint)


def _completed(attempt: Attempt, returned: Any) -> Completed:
    result = attempt.definition.result.dump(returned)
    size = len(result) if result.isascii() else len(result.encode())
    if size > attempt.around.largest_result:
        raise PayloadTooLarge(attempt.definition.result.what, size, attempt.around.largest_result)
    return Completed(result)


def outcome_of(attempt: Attempt, error: BaseException) -> Outcome | None:
    """Say what an exception out of a handler means; never raises, whatever the exception does.

    An attempt without an outcome would keep its lease for ever.
    """
    try:
        return _meaning(attempt, error)
    except BaseException as wrong:  # noqa: BLE001 (a property or a group of the handler's own)
        return Failed(f"{_summary(error)} (of no use: {_summary(wrong)})", _trace(error))


def _meaning(attempt: Attempt, error: BaseException) -> Outcome | None:
    match _first_stop(error) or error:
        case asyncio.CancelledError():
            stop = attempt.token.why
            if stop is None:
                return Failed(
                    "the handler cancelled itself (asyncio.CancelledError)", _trace(error)
                )
            return outcome_of(attempt, stop)
        case LeaseLost():
            return None
        case JobCancelled() as cancelled:
            return Cancelled(_text(cancelled) or None)
        case JobInterrupted():
            return Interrupted()
        case WaitsForChildren(on_failure=on_failure):
            return Waiting(on_failure)
        case LimitExceeded() as exceeded:
            return Failed(f"{exceeded.limit}: {_text(exceeded)}", _trace(error))
        case MemoryError() if attempt.definition.memory_limit is not None:
            limit = attempt.definition.memory_limit
            return Failed(
                f"memory limit: refused what is far past {limit / 1_000_000:,.0f} MB", _trace(error)
            )
        case Snooze(after=after, reason=reason):
            return Snoozed(after, reason)
        case Unrecoverable() as unrecoverable:
            why = _text(unrecoverable) or "Unrecoverable"
            return Failed(why, _trace(error), recoverable=False)
        case InputsInvalid():
            return Misfit(_text(error))
        case ConfigurationError() | PayloadTooLarge():
            return Failed(_text(error), recoverable=False)
        case _:
            return Failed(_summary(error), _trace(error))


def _first_stop(error: BaseException) -> BaseException | None:
    """Find the stop inside what a task group raises."""
    if not isinstance(error, BaseExceptionGroup):
        return None
    stops: BaseException | None = error.subgroup((AttemptStopped, asyncio.CancelledError))
    while isinstance(stops, BaseExceptionGroup):
        stops = stops.exceptions[0]
    return stops


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 (a __str__ of the handler's own)
        return f"<unprintable {type(error).__name__}>"


def _summary(error: BaseException) -> str:
    # SQLAlchemy ends its messages with a link that helps nobody here.
    text = _without_rows(_text(error).partition("\n(Background on this error at")[0])
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def _without_rows(text: str) -> str:
    """Leave out where PostgreSQL repeats the row or the key: records do not belong in history."""
    return _ROW.sub(r"\1 …", text)


def _trace(error: BaseException) -> str:
    # Its first frame is ours; the handler's begins after it.
    own = error.__traceback__ and error.__traceback__.tb_next
    lines = traceback.format_exception(type(error), error, own)
    text = _without_rows("".join(lines))
    if len(text) > LONGEST_TRACEBACK:
        half = LONGEST_TRACEBACK // 2
        text = f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
    return text


async def _aget(container: svcs.Container, name: str, wanted: Any, kind: str) -> Any:
    try:
        return await container.aget(wanted)
    except svcs.exceptions.ServiceNotFoundError:
        raise _missing(name, wanted, kind) from None


def _get(container: svcs.Container, name: str, wanted: Any, kind: str) -> Any:
    try:
        return container.get(wanted)
    except svcs.exceptions.ServiceNotFoundError:
        raise _missing(name, wanted, kind) from None


def _missing(name: str, wanted: Any, kind: str) -> ServiceMissing:
    return ServiceMissing(
        f"the handler of {kind} asks for {name}: {getattr(wanted, '__name__', wanted)}, and no "
        "factory for that type is registered in the services"
    )
