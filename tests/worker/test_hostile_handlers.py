"""Promise 7: what handlers and observers do never stops the worker."""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import cast

import pytest

from milepost import (
    Backoff,
    JobContext,
    JobFailed,
    JobHandle,
    JobState,
    Snooze,
    SyncJobContext,
    Unrecoverable,
    job,
)
from milepost.jobs.events import AttemptFinished, AttemptStarted, Event, WorkerStarted
from tests.worker.apps import App, OpenApp
from tests.worker.waiting import SOON, eventually, wait_until


@job("answers")
async def answers(ctx: JobContext[None], args: int) -> int:
    return args


@pytest.mark.parametrize(
    "after", [timedelta(days=4_000_000), timedelta.max, timedelta.min], ids=repr
)
async def test_promise_7_a_snooze_past_the_calendar_keeps_no_other_job_from_settling(
    open_app: OpenApp, after: timedelta
) -> None:
    @job("sleeps-for-ever", max_attempts=1)
    async def sleeps_for_ever(ctx: JobContext[None], args: int) -> None:
        if ctx.attempt == 1:
            raise Snooze(after)

    app = await open_app(sleeps_for_ever, answers)
    async with app.worker():
        handle = await app.submit(sleeps_for_ever, 0)
        await eventually(lambda: app.happened(AttemptStarted))
        assert await (await app.submit(answers, 7)).result(SOON / 2) == 7
        await eventually(lambda: app.happened(AttemptFinished))
        # One that was to run again in the past may be running again just now.
        await eventually(lambda: not_running(handle))


async def not_running(handle: JobHandle) -> bool:
    return (await handle.view()).state is not JobState.RUNNING


async def test_promise_7_a_back_off_past_the_calendar_keeps_no_other_job_from_settling(
    open_app: OpenApp,
) -> None:
    for_ever = Backoff(first=timedelta.max, longest=timedelta.max)

    @job("breaks", backoff=for_ever)
    async def breaks(ctx: JobContext[None], args: int) -> None:
        raise OSError("broken")

    app = await open_app(breaks, answers)
    async with app.worker():
        await app.submit(breaks, 0)
        await eventually(lambda: app.happened(AttemptStarted))
        assert await (await app.submit(answers, 7)).result(SOON / 2) == 7


async def test_promise_7_a_stop_listener_that_breaks_keeps_no_worker_from_stopping(
    open_app: OpenApp,
) -> None:
    listening = threading.Event()

    @job("listens")
    def listens(ctx: SyncJobContext[None], args: int) -> None:
        def broken() -> None:
            raise OSError("a listener broke")

        ctx.cancel.on_stop(broken)
        listening.set()
        wait_until(lambda: ctx.stopping)
        ctx.cancel.raise_if_stopped()

    app = await open_app(listens)
    async with app.worker():
        handle = await app.submit(listens, 0)
        await eventually(listening.is_set)
    view = await handle.view()
    assert (view.state, view.failures) == (JobState.AVAILABLE, 0)


async def test_promise_7_a_stop_listener_that_breaks_keeps_no_cancel_from_arriving(
    open_app: OpenApp,
) -> None:
    @job("listens")
    async def listens(ctx: JobContext[None], args: int) -> None:
        def broken() -> None:
            raise OSError("a listener broke")

        ctx.cancel.on_stop(broken)
        await asyncio.sleep(SOON.total_seconds())

    app = await open_app(listens)
    async with app.worker():
        handle = await app.submit(listens, 0)
        await eventually(lambda: app.happened(AttemptStarted))
        assert (await handle.cancel(wait=SOON)).cancelled


async def test_an_observer_that_breaks_costs_no_job(open_app: OpenApp) -> None:
    app = await open_app(answers)

    def broken(event: Event) -> None:
        # Not at the start: that would be a fault that its author sees at once.
        if not isinstance(event, WorkerStarted):
            raise OSError(f"an observer broke on {type(event).__name__}")

    broken_app = App([answers], app.settings.database_url)
    broken_app.observers.add(broken)
    async with broken_app, broken_app.worker():
        for number in range(3):
            assert await (await broken_app.submit(answers, number)).result(SOON) == number


class Hasty(Snooze):
    def __init__(self) -> None:
        self.after = cast(timedelta, 5)
        self.reason = None


@pytest.mark.parametrize("snooze", [lambda: Snooze(cast(timedelta, 5)), Hasty])
async def test_promise_7_a_snooze_that_is_no_time_fails_and_says_what_it_takes(
    open_app: OpenApp, snooze: Callable[[], Snooze]
) -> None:
    @job("sleeps-a-number", max_attempts=1)
    async def sleeps_a_number(ctx: JobContext[None], args: int) -> None:
        raise snooze()

    app = await open_app(sleeps_a_number, answers)
    async with app.worker():
        handle = await app.submit(sleeps_a_number, 0)
        with pytest.raises(JobFailed, match="takes a timedelta, not 5"):
            await handle.result(SOON / 2)
        assert await (await app.submit(answers, 7)).result(SOON / 2) == 7


class Unprintable(Exception):
    def __str__(self) -> str:
        raise OSError("no words")


class UnprintableAtAll(Exception):
    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__


class Mute(Unrecoverable):
    def __str__(self) -> str:
        raise OSError("no words")


class Faceless(Snooze):
    def __init__(self) -> None:
        pass

    @property
    def after(self) -> timedelta:  # type: ignore[override]
        raise OSError("no time")


class Undivided(ExceptionGroup):
    def derive(self, excs: object) -> ExceptionGroup:  # type: ignore[override]
        raise OSError("not divided")


HOSTILE = {
    "str": Unprintable,
    "str-and-repr": UnprintableAtAll,
    "property": Faceless,
    "group": lambda: Undivided("both", [OSError("one"), OSError("other")]),
    "unrecoverable": Mute,
}


@pytest.mark.parametrize("error", HOSTILE.values(), ids=HOSTILE)
async def test_promise_7_an_error_that_cannot_be_read_fails_its_job_as_any_other(
    open_app: OpenApp, error: Callable[[], Exception]
) -> None:
    @job("breaks-in-coroutine", max_attempts=1)
    async def breaks_in_coroutine(ctx: JobContext[None], args: int) -> None:
        raise error()

    @job("breaks-in-thread", max_attempts=1)
    def breaks_in_thread(ctx: SyncJobContext[None], args: int) -> None:
        raise error()

    app = await open_app(breaks_in_coroutine, breaks_in_thread)
    async with app.worker():
        for definition in (breaks_in_coroutine, breaks_in_thread):
            with pytest.raises(JobFailed):
                await (await app.submit(definition, 0)).result(SOON)


async def test_an_error_that_cannot_be_read_is_shown_by_its_type(open_app: OpenApp) -> None:
    @job("breaks", max_attempts=1)
    async def breaks(ctx: JobContext[None], args: int) -> None:
        raise Unprintable

    app = await open_app(breaks)
    async with app.worker():
        handle = await app.submit(breaks, 0)
        with pytest.raises(JobFailed, match="<unprintable Unprintable>"):
            await handle.result(SOON)
        [attempt] = await handle.attempts()
    assert "in breaks" in (attempt.traceback or "")


async def test_a_handler_that_cancels_itself_fails(open_app: OpenApp) -> None:
    @job("cancels-itself", max_attempts=1)
    async def cancels_itself(ctx: JobContext[None], args: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(SOON.total_seconds())

    app = await open_app(cancels_itself)
    async with app.worker():
        with pytest.raises(JobFailed, match="cancelled itself"):
            await (await app.submit(cancels_itself, 0)).result(SOON)


async def test_an_error_inside_a_task_group_is_shown_with_its_trace(open_app: OpenApp) -> None:
    @job("groups", max_attempts=1)
    async def groups(ctx: JobContext[None], args: int) -> None:
        async def breaks() -> None:
            raise OSError("the inner one")

        async with asyncio.TaskGroup() as group:
            group.create_task(breaks())
            group.create_task(asyncio.sleep(SOON.total_seconds()))

    app = await open_app(groups)
    async with app.worker():
        handle = await app.submit(groups, 0)
        with pytest.raises(JobFailed, match="ExceptionGroup"):
            await handle.result(SOON)
        [attempt] = await handle.attempts()
    assert "OSError: the inner one" in (attempt.traceback or "")
