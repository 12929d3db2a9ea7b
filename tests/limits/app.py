"""Jobs under limits, four workers, and what the store says of their attempts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from milepost import (
    Concurrency,
    JobContext,
    JobDefinition,
    Milepost,
    Rate,
    Settings,
    WorkerSettings,
    job,
)
from milepost.settings import RedisSettings
from milepost.store import schema
from milepost.store.tables import attempts, jobs

PER = timedelta(seconds=8)
SOON = timedelta(seconds=60)


@dataclass(frozen=True)
class Visit:
    shop: str
    seconds: float = 0.0


@job("visit", limits=[Concurrency(2, key=lambda args: args.shop)])
async def visit(ctx: JobContext[None], args: Visit) -> None:
    await asyncio.sleep(args.seconds)


@job("ask", limits=[Rate(20, per=PER)])
async def ask(ctx: JobContext[None], args: int) -> None:
    pass


@job("take-turns", turns="owner")
async def take_turns(ctx: JobContext[None], args: int) -> None:
    pass


@job("plain")
async def plain(ctx: JobContext[None], args: float) -> None:
    await asyncio.sleep(args)


@contextlib.asynccontextmanager
async def opened(
    url: str,
    redis: RedisSettings | None = None,
    *definitions: JobDefinition[Any, Any, Any],
    concurrency: int = 10,
) -> AsyncIterator[tuple[Milepost, contextlib.AsyncExitStack]]:
    """An application on a new store; its workers start when the test enters the stack's."""
    settings = Settings(
        database_url=url,
        redis=redis or RedisSettings(),
        worker=WorkerSettings(
            concurrency=concurrency,
            lease_for=timedelta(seconds=2),
            stop_grace=timedelta(seconds=0.2),
        ),
    )
    given = definitions or (visit, ask, take_turns, plain)
    milepost = Milepost(given, settings=settings, observers=())
    schema.migrate(milepost.database)
    async with milepost, contextlib.AsyncExitStack() as stack:
        yield milepost, stack


class Run(NamedTuple):
    """One attempt that has ended."""

    job_id: int
    args: str
    owner: str | None
    began: datetime
    ended: datetime


async def runs(milepost: Milepost, kind: str) -> Sequence[Run]:
    """Read the attempts at a kind of job, in the order in which they began."""
    query = (
        select(jobs.c.id, jobs.c.args, jobs.c.owner, attempts.c.started_at, attempts.c.finished_at)
        .join_from(jobs, attempts, jobs.c.id == attempts.c.job_id)
        .where(jobs.c.kind == kind)
        .order_by(attempts.c.started_at, jobs.c.id)
    )
    return [
        Run(*row) for row in await milepost.database.query(lambda conn: conn.execute(query).all())
    ]


def most_at_once(found: Sequence[Run]) -> int:
    """How many of these attempts ran at the same time, at most."""
    moments = sorted([(run.began, 1) for run in found] + [(run.ended, -1) for run in found])
    most = now = 0
    for _, step in moments:
        now += step
        most = max(most, now)
    return most


def most_within(found: Sequence[Run], per: timedelta) -> int:
    """How many of these attempts began in any stretch of so long, at most."""
    return max(sum(run.began <= other.began < run.began + per for other in found) for run in found)


def count_running(conn: Connection) -> int:
    """How many jobs run."""
    return conn.execute(select(func.count()).where(jobs.c.state == "running")).scalar_one()
