"""How much of a limit four worker processes use, and that they never pass it.

    python bench/limits.py [--seconds 15]

Jobs that sleep, under `Concurrency(8)`, and jobs that do nothing, under `Rate`, all submitted
before the workers start, on SQL and on BullMQ (a private PostgreSQL whose commits reach the disk, a
private Redis). Used is the time that attempts ran of the time that so many could have run, from the
first beginning to the last; of a rate, how many began of those that might have. The rest is the
hand-over from one attempt to the next.
"""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from sqlalchemy import select
from tests.servers import postgres_server, redis_server

from milepost import (
    Concurrency,
    Database,
    JobContext,
    Milepost,
    Rate,
    Settings,
    WorkerSettings,
    job,
)
from milepost.settings import RedisSettings
from milepost.store import schema
from milepost.store.tables import attempts, jobs
from sides import worker_process

WORKERS = 4
AT_ONCE = 8
PER = timedelta(seconds=2)
RATES = (20, 200)

Run = tuple[datetime, datetime]


@job("sleeps", limits=[Concurrency(AT_ONCE)])
async def sleeps(ctx: JobContext[None], args: float) -> None:
    await asyncio.sleep(args)


@job("slowly", limits=[Rate(RATES[0], per=PER)])
async def slowly(ctx: JobContext[None], args: int) -> None:
    pass


@job("quickly", limits=[Rate(RATES[1], per=PER)])
async def quickly(ctx: JobContext[None], args: int) -> None:
    pass


def application(redis_url: str | None, prefix: str, url: str) -> Milepost:
    settings = Settings(
        database_url=url,
        redis=RedisSettings(url=redis_url, prefix=prefix) if redis_url else RedisSettings(),
        worker=WorkerSettings(concurrency=20),
    )
    return Milepost([sleeps, slowly, quickly], settings=settings, observers=())


def runs(database: Database, first: int) -> list[Run]:
    query = (
        select(attempts.c.started_at, attempts.c.finished_at)
        .join_from(attempts, jobs, jobs.c.id == attempts.c.job_id)
        .where(jobs.c.id >= first)
        .order_by(attempts.c.started_at)
    )
    with database.read() as conn:
        return [(row.started_at, row.finished_at) for row in conn.execute(query)]


def most_at_once(found: Sequence[Run]) -> int:
    # An end at the same microsecond comes first.
    moments = sorted([(began, 1) for began, _ in found] + [(ended, -1) for _, ended in found])
    most = now = 0
    for _, step in moments:
        now += step
        most = max(most, now)
    return most


def most_within(found: Sequence[Run]) -> int:
    began = [each for each, _ in found]
    first = most = 0
    for number, at in enumerate(began):
        while began[first] <= at - PER:
            first += 1
        most = max(most, number - first + 1)
    return most


async def measure(name: str, url: str, redis_url: str | None, seconds: int) -> None:
    make = partial(application, redis_url, f"{{{name}}}")
    milepost = make(url)
    schema.migrate(milepost.database)
    async with milepost:
        for length in (0.1, 0.5, 2.0):
            count = int(seconds / length) * AT_ONCE
            found = await run(milepost, make, url, "sleeps", [length] * count)
            # The last ones run out: from when fewer wait than may run, nothing can be used.
            last = found[-AT_ONCE][0]
            took = (last - found[0][0]).total_seconds()
            used = sum(
                (min(end, last) - begun).total_seconds() for begun, end in found if begun < last
            )
            print(
                f"{name:<7} Concurrency({AT_ONCE}), jobs of {length:g} s: at most "
                f"{most_at_once(found)} at once, {used / took / AT_ONCE:.1%} used", flush=True,
            )  # fmt: skip
        for kind, most in zip(("slowly", "quickly"), RATES, strict=True):
            turns = max(2, int(seconds / PER.total_seconds()))
            found = await run(milepost, make, url, kind, list(range(most * turns)))
            took = (found[-1][0] - found[0][0]).total_seconds()
            least = (turns - 1) * PER.total_seconds()
            print(
                f"{name:<7} Rate({most}, per={PER.total_seconds():g} s): at most "
                f"{most_within(found)} in any {PER.total_seconds():g} s, {least / took:.1%} used",
                flush=True,
            )


async def run(
    milepost: Milepost, make: Callable[[str], Milepost], url: str, kind: str, args: Sequence[object]
) -> list[Run]:
    definition = milepost.registry[kind]
    handles = await milepost.submit_many(definition, args)
    with contextlib.ExitStack() as stack:
        for _ in range(WORKERS):
            stack.enter_context(worker_process(make, url))
        await asyncio.gather(*(each.result(timedelta(minutes=5)) for each in handles[-20:]))
        while len(found := runs(milepost.database, handles[0].job_id)) < len(handles):
            await asyncio.sleep(0.1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=15)
    given = parser.parse_args()
    with postgres_server(durable=True) as postgres, redis_server() as redis:
        for name, redis_url in (("SQL", None), ("BullMQ", redis.url)):
            asyncio.run(measure(name, postgres.create_database(), redis_url, given.seconds))


if __name__ == "__main__":
    main()
