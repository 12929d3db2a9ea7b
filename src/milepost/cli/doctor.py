"""`milepost doctor`: what was checked, what is wrong, what to do."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from milepost.app import Milepost
from milepost.checks import (
    STEPS,
    CheckArgs,
    check_cancel,
    check_progress,
    check_retry,
    check_succeed,
)
from milepost.cli import loading
from milepost.cli.connection_findings import look_at_connections
from milepost.cli.findings import Finding
from milepost.cli.output import Output
from milepost.cli.process_findings import look_at_processes
from milepost.cli.redis_findings import look_at_redis
from milepost.errors import MilepostError
from milepost.handles import JobHandle
from milepost.jobs.definition import JobDefinition
from milepost.jobs.states import JobState
from milepost.store import reading, schema, workers
from milepost.store.database import Database

LIVE_WAIT: Final = timedelta(seconds=30)
CLOCKS_AGREE: Final = timedelta(seconds=2)
SLOW: Final = timedelta(milliseconds=50)
WAITS_LONG: Final = timedelta(minutes=5)


def doctor(
    app: Annotated[str | None, typer.Option(help="module:attribute [$MILEPOST_APP].")] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Also send small jobs through the workers.")
    ] = False,
    queue: Annotated[str, typer.Option(help="The queue for the --live jobs.")] = "default",
    json: Annotated[bool, typer.Option("--json", help="JSON for programs.")] = False,
) -> int:
    """Check the settings, the store, Redis and the workers; exit 1 where something is wrong."""
    output = Output(json=json)
    milepost = loading.application(app)
    findings = asyncio.run(_check(milepost, output, queue if live else None))
    wrong = [finding for finding in findings if not finding.well]
    output.say(f"\n{len(findings)} checked, {len(wrong) or 'nothing'} wrong")
    return 1 if wrong else 0


async def _check(milepost: Milepost, output: Output, live_queue: str | None) -> list[Finding]:
    findings: list[Finding] = []

    def found(finding: Finding) -> None:
        findings.append(finding)
        mark = "ok   " if finding.well else "WRONG"
        output.say(f"{mark}  {finding.what}: {finding.said}")
        if not finding.well:
            output.say(f"       → {finding.todo}")
        output.emit(
            {"check": finding.what, "ok": finding.well, "said": finding.said, "todo": finding.todo}
        )

    found(Finding("settings", True, f"store {milepost.database.url}"))
    try:
        for finding in await milepost.database.on_thread(lambda: _store(milepost.database)):
            found(finding)
        link, database = milepost.link, milepost.database
        if link is not None:
            for finding in await database.on_thread(lambda: look_at_redis(link, database)):
                found(finding)
        for finding in await look_at_connections(milepost):
            found(finding)
        for finding in await look_at_processes(milepost):
            found(finding)
        if live_queue is not None and all(finding.well for finding in findings):
            for check in (_succeeds, _reports, _retries, _cancels):
                found(await _tried(check, milepost, live_queue))
    finally:
        await milepost.aclose()
    return findings


def _store(database: Database) -> list[Finding]:
    try:
        if database.is_sqlite:
            schema.ensure(database)
        with database.read() as conn:
            return list(_look(conn, database))
    except (DBAPIError, OSError, MilepostError) as error:
        reason = str(getattr(error, "orig", error)).strip().partition("\n")[0]
        todo = "see that DATABASE_URL is right, the server runs and the file may be written"
        return [Finding("store", False, reason, todo)]


def _look(conn: Connection, database: Database) -> Iterator[Finding]:
    began = time.monotonic()
    server = conn.exec_driver_sql(
        "SELECT 'SQLite ' || sqlite_version()" if database.is_sqlite else "SHOW server_version"
    ).scalar_one()
    took = timedelta(seconds=time.monotonic() - began)
    yield Finding(
        "store", took < SLOW, f"{server} answers in {took.total_seconds() * 1000:.1f} ms",
        "a slow store slows every checkpoint: is it far away, or overloaded?",
    )  # fmt: skip
    wrong = schema.misfit(conn)
    if wrong is not None:
        yield Finding("tables", False, wrong.reason, wrong.todo)
        return
    yield Finding("tables", True, f"version {schema.version(conn)}", "")
    yield from _clocks(conn, database)
    yield from _workers(conn, database)
    yield from _waiting(conn, database)


def _clocks(conn: Connection, database: Database) -> Iterator[Finding]:
    if database.is_sqlite:
        return
    apart = abs(reading.present(conn, database.clock) - datetime.now(UTC))
    yield Finding(
        "clocks", apart < CLOCKS_AGREE,
        f"this host and the database are {apart.total_seconds():.1f} s apart",
        "leases do not mind, people who read log times do: set up NTP",
    )  # fmt: skip


def _workers(conn: Connection, database: Database) -> Iterator[Finding]:
    now = reading.present(conn, database.clock)
    alive = [
        worker for worker in workers.unstopped(conn)
        if worker.seen_at is not None and now - worker.seen_at < timedelta(minutes=1)
    ]  # fmt: skip
    slots = sum(worker.concurrency for worker in alive)
    busy = sum(worker.running for worker in alive)
    yield Finding("workers", True, f"{len(alive)} alive, {busy} of {slots} slots busy")


def _waiting(conn: Connection, database: Database) -> Iterator[Finding]:
    now = reading.present(conn, database.clock)
    served = {queue for worker in workers.unstopped(conn) for queue in worker.queues}
    for queue, oldest in reading.oldest_available(conn).items():
        waited = now - oldest
        yield Finding(
            f"queue {queue}", waited < WAITS_LONG,
            f"the oldest job has waited {waited.total_seconds():.0f} s",
            "start more workers" if queue in served else "no worker takes from it: start one",
        )  # fmt: skip
    stuck = reading.count_expired(conn, database.clock, by=timedelta(minutes=1))
    yield Finding(
        "leases", stuck == 0, f"{stuck} running jobs without a living lease",
        "a running worker takes them back by itself: start one",
    )  # fmt: skip


async def _tried(check: Callable[[Milepost, str], Any], milepost: Milepost, queue: str) -> Finding:
    name = f"live: {check.__name__.strip('_')}"
    began = time.monotonic()
    try:
        said = await check(milepost, queue)
    except TimeoutError:
        return Finding(
            name, False, f"nothing came of it in {LIVE_WAIT.total_seconds():.0f} s",
            f"does a worker with this application take from the queue {queue!r}?",
        )  # fmt: skip
    except MilepostError as error:
        return Finding(name, False, str(error), "see `milepost jobs show` and the workers' logs")
    return Finding(name, True, f"{said}, after {time.monotonic() - began:.2f} s")


async def _succeeds(milepost: Milepost, queue: str) -> str:
    async with _submitted(milepost, check_succeed, queue) as handle:
        return f"job {handle.job_id} returned {await handle.result(LIVE_WAIT)!r}"


async def _reports(milepost: Milepost, queue: str) -> str:
    async with _submitted(milepost, check_progress, queue) as handle:
        await handle.result(LIVE_WAIT)
        progress = (await handle.view()).progress
        if progress is None or progress.count != STEPS:
            raise MilepostError(f"job {handle.job_id} reported {progress}, not {STEPS} steps")
        return f"job {handle.job_id} reported {progress.count} of {progress.total} steps"


async def _retries(milepost: Milepost, queue: str) -> str:
    async with _submitted(milepost, check_retry, queue) as handle:
        attempt = await handle.result(LIVE_WAIT)
        return f"job {handle.job_id} failed once and succeeded in attempt {attempt}"


async def _cancels(milepost: Milepost, queue: str) -> str:
    async with _submitted(milepost, check_cancel, queue) as handle:
        async with asyncio.timeout(LIVE_WAIT.total_seconds()):
            async for view in handle.watch():
                if view.state is JobState.RUNNING:
                    break
        answer = await handle.cancel("milepost doctor --live", wait=LIVE_WAIT)
        if not answer.cancelled:
            raise MilepostError(str(answer))
        return f"job {handle.job_id} stopped when told"


@contextlib.asynccontextmanager
async def _submitted(
    milepost: Milepost, check: JobDefinition[CheckArgs, Any, Any], queue: str
) -> AsyncIterator[JobHandle[Any]]:
    handle = await milepost.submit(check, CheckArgs(), queue=queue)
    try:
        yield handle
    finally:
        # However this ends, nobody waits for the job any more; one that is final stays as it is.
        await handle.cancel("milepost doctor --live has ended", wait=timedelta(0))
