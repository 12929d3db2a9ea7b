"""News of jobs for many listeners: each is read and written once, however many listen.

A listener who is slow, or was away, gets the last state of each job instead of every one between.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from milepost.app import Milepost
from milepost.errors import JobNotFound
from milepost.handles import JobHandle
from milepost.jobs.leases import JobId
from milepost.jobs.states import FINAL
from milepost.signals import Signal
from milepost.store import summaries
from milepost.store.logs import MOST_LINES, LogLine
from milepost.store.summaries import JobSummary
from milepost.web.api import job_models

logger = logging.getLogger("milepost.web")

PACE: Final = 0.2
"""How long to wait from one state of a job to the next, in seconds: an eye sees no more."""
LOG_PACE: Final = 0.5
ALL_PACE: Final = 0.5
LOOK_EVERY: Final = 2.0
PING_EVERY: Final = 15.0
MOST_STIRRING: Final = 200
# What committed a moment before it was looked for may have been marked a moment earlier still.
OVERLAP: Final = timedelta(seconds=5)


class Feed:
    """The news of one application's jobs. It works only while somebody listens."""

    def __init__(self, milepost: Milepost) -> None:
        self._milepost = milepost
        self._jobs: dict[JobId, _JobChannel] = {}
        self._all: _AllChannel | None = None

    async def of_job(self, job_id: JobId, *, after_line: int = 0) -> AsyncGenerator[bytes, None]:
        """Give a job's states and log lines as events, until it has ended.

        `after_line`: the id of the last log line that the listener has.
        """
        channel = self._jobs.get(job_id)
        if channel is None:
            channel = self._jobs[job_id] = _JobChannel(self._milepost.handle(job_id))
        try:
            with channel.listening():
                async for event in channel.events(after_line):
                    yield event
        finally:
            if not channel.heard and self._jobs.get(job_id) is channel:
                del self._jobs[job_id]

    async def of_all(
        self, *, owner: str | None = None, since: datetime | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Give what happens to any job: first what runs and what ended since a moment."""
        if self._all is None:
            self._all = _AllChannel(self._milepost)
        with self._all.listening(owner) as listener:
            async for event in self._all.events(listener, since):
                yield event


class _JobChannel:
    """One job, and those who listen to it."""

    def __init__(self, handle: JobHandle[Any]) -> None:
        self._handle = handle
        self._news = asyncio.Event()
        self._state: bytes = b""
        self._version = 0
        self._lines: deque[LogLine] = deque(maxlen=MOST_LINES)
        self._ended = False
        self._last: bytes = b""
        self._listeners = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def heard(self) -> bool:
        """Whether somebody listens."""
        return self._listeners > 0

    @contextlib.contextmanager
    def listening(self) -> Any:
        """Listen; the first one starts the channel, and the last one ends it."""
        self._listeners += 1
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._listeners -= 1
            if not self._listeners and self._task is not None:
                self._task.cancel()
                self._task = None

    async def events(self, after_line: int) -> AsyncGenerator[bytes, None]:
        """Give the state whenever it has changed, and the lines after one."""
        lines: Sequence[LogLine] = await self._handle.logs(after=after_line)
        version, last = 0, after_line
        while True:
            news, ended = self._news, self._ended
            if lines:
                last = lines[-1].id or last
                yield b"".join(map(_of_line, lines))
            if self._version != version:
                version = self._version
                yield self._state
            if ended:
                yield self._last
                return
            while not news.is_set():
                try:
                    async with asyncio.timeout(PING_EVERY):
                        await news.wait()
                except TimeoutError:
                    yield b": still here\n\n"
            lines = [each for each in self._lines if (each.id or 0) > last]

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(self._listen())
                await self._watch()
                listening.cancel()
            await self._read_lines()
            self._last = event("end", b"{}")
        except* JobNotFound:
            self._last = event("gone", b"{}")
        except* Exception as errors:
            # Without an end: who listens comes again, and finds the store back.
            logger.warning("job %d cannot be followed", self._handle.job_id, exc_info=errors)
            self._last = event("trouble", b"{}")
        self._ended = True
        self._tell()

    async def _watch(self) -> None:
        async with aclosing(self._handle.watch()) as views:
            async for view in views:
                shown = job_models.job(view, await self._handle.estimate())
                # What is large and does not change is asked for once, not sent with each step.
                body = shown.model_dump_json(exclude={"args", "result", "attempts"})
                self._state = event("job", body.encode())
                self._version += 1
                self._tell()
                if view.state in FINAL:
                    return
                await asyncio.sleep(PACE)

    async def _listen(self) -> None:
        while True:
            await self._read_lines()
            await asyncio.sleep(LOG_PACE)

    async def _read_lines(self) -> None:
        last = self._lines[-1].id if self._lines else 0
        if lines := await self._handle.logs(after=last or 0):
            self._lines.extend(lines)
            self._tell()

    def _tell(self) -> None:
        told, self._news = self._news, asyncio.Event()
        told.set()


class _Listener:
    """One who listens to all jobs, and what he has not heard yet: of each job the last state."""

    def __init__(self, owner: str | None) -> None:
        self.owner = owner
        self.news = asyncio.Event()
        self._pending: dict[JobId, bytes] = {}

    def hear(self, summary: JobSummary, told: bytes) -> None:
        """Keep the newest state of a job, if the job is his to see."""
        if self.owner is None or summary.owner == self.owner:
            self._pending[summary.id] = told
            self.news.set()

    def take(self) -> bytes:
        """Give what he has not heard yet."""
        taken = b"".join(self._pending.values())
        self._pending.clear()
        self.news.clear()
        return taken


class _AllChannel:
    """All jobs, and those who listen to them."""

    def __init__(self, milepost: Milepost) -> None:
        self._milepost = milepost
        self._listeners: set[_Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self._stirred = asyncio.Event()

    @contextlib.contextmanager
    def listening(self, owner: str | None) -> Any:
        """Listen; the first one starts the channel, and the last one ends it."""
        listener = _Listener(owner)
        self._listeners.add(listener)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            if not self._listeners and self._task is not None:
                self._task.cancel()
                self._task = None

    async def events(
        self, listener: _Listener, since: datetime | None
    ) -> AsyncGenerator[bytes, None]:
        """Give the picture as it is, then what changes."""
        now = datetime.now(UTC)
        found = await self._look(
            await self._milepost.database.query(summaries.newest_id), (since or now) - OVERLAP
        )
        for summary in found:
            listener.hear(summary, _of_summary(summary, now))
        while True:
            if taken := listener.take():
                yield taken
            try:
                async with asyncio.timeout(PING_EVERY):
                    await listener.news.wait()
            except TimeoutError:
                yield b": still here\n\n"

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()

        def hear(_: Signal) -> None:
            with contextlib.suppress(RuntimeError):  # The loop may have closed.
                loop.call_soon_threadsafe(self._stirred.set)

        unsubscribe = await asyncio.to_thread(self._milepost.signals.subscribe, hear)
        try:
            after = await self._milepost.database.query(summaries.newest_id)
            known: dict[JobId, JobSummary] = {}
            ended_since = datetime.now(UTC) - OVERLAP
            while True:
                began = datetime.now(UTC)
                try:
                    found = await self._look(after, ended_since)
                except Exception:
                    # The store is away; what happened meanwhile is found when it is back.
                    logger.warning("jobs cannot be followed just now", exc_info=True)
                    found, began = list(known.values()), ended_since + OVERLAP
                told = {
                    each.id: _of_summary(each, began)
                    for each in found
                    if known.get(each.id) != each
                }
                for listener in self._listeners:
                    for each in found:
                        if each.id in told:
                            listener.hear(each, told[each.id])
                known = {each.id: each for each in found}
                after = max([after, *known])
                ended_since = began - OVERLAP
                await asyncio.sleep(ALL_PACE)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY):
                        await self._stirred.wait()
                self._stirred.clear()
        finally:
            await asyncio.shield(asyncio.to_thread(unsubscribe))

    async def _look(self, after: JobId, ended_since: datetime) -> list[JobSummary]:
        return await self._milepost.database.query(
            summaries.stirring, after=after, ended_since=ended_since, limit=MOST_STIRRING
        )


def event(name: str, data: bytes, *, id: str | None = None) -> bytes:  # noqa: A002 (SSE's word)
    """Spell one server-sent event; `data` is JSON on one line."""
    spelled_id = b"" if id is None else b"id: " + id.encode() + b"\n"
    return spelled_id + b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


def _of_line(line: LogLine) -> bytes:
    shown = job_models.LogLineOut(
        id=line.id, attempt=line.lease.attempt, at=line.at, level=line.level, message=line.message
    )
    return event("log", shown.model_dump_json().encode(), id=str(line.id))


def _of_summary(summary: JobSummary, at: datetime) -> bytes:
    # Whoever comes back says this moment, and hears what has ended since.
    return event(
        "job",
        job_models.line(summary).model_dump_json().encode(),
        id=str(int(at.timestamp() * 1000)),
    )
