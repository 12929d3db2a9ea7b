"""A pool with a real store and without a worker."""

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import text

from milepost import Database, open_database
from milepost.app import complete_services
from milepost.jobs.outcomes import Outcome
from milepost.jobs.progress import Progress
from milepost.jobs.requests import request
from milepost.pools import (
    Attempt,
    CoroutinePool,
    Pool,
    ProcessPool,
    Surroundings,
    ThreadPool,
    origin_of,
)
from milepost.settings import ProcessSettings
from milepost.store import jobs, reading, schema
from tests.pools import handlers, mischief
from tests.pools.handlers import VARIANTS, services

DEFINITIONS = {**handlers.DEFINITIONS, **mischief.DEFINITIONS}
SOON = 20.0
WORKER = "the-contract"
AT_ONCE = 8


class Rig:
    """Submits, claims, runs and waits, one step at a time."""

    def __init__(self, variant: str, url: str, settings: ProcessSettings) -> None:
        self.variant = variant
        self.database: Database = open_database(url)
        schema.migrate(self.database)
        with self.database.begin() as conn:
            conn.execute(text("CREATE TABLE steps (number INTEGER)"))
        self.done: queue.SimpleQueue[tuple[Attempt, Outcome | None]] = queue.SimpleQueue()
        with self.database.read() as conn:
            store_id = reading.store_id(conn)
        self.around = Surroundings(
            database=self.database, store_id=store_id, services=complete_services(services)
        )
        self.pool = self._pool(settings)
        self.progress: list[Progress] = []
        self.lines: list[str] = []

    def _pool(self, settings: ProcessSettings) -> Pool:
        def on_done(attempt: Attempt, outcome: Outcome | None) -> None:
            self.done.put((attempt, outcome))

        match VARIANTS[self.variant]:
            case ("coroutine", _):
                return CoroutinePool(on_done)
            case ("thread", _):
                return ThreadPool(on_done, idle_for=settings.idle_for)
        isolated = [each for each in DEFINITIONS.values() if each.pool == "process"]
        origin = origin_of(isolated, services, complete_services)
        return ProcessPool(on_done, self.around, origin, settings)

    def attempts(self, behaviour: str, args: Any, count: int = 1) -> list[Attempt]:
        """Submit jobs of a behaviour and claim them."""
        definition = DEFINITIONS[f"{behaviour}-{self.variant}"]
        clock = self.database.clock
        made = request(definition, definition.args.dump(args), {}, largest=1_000_000)
        with self.database.begin() as conn:
            submitted = jobs.submit(conn, clock, [made] * count)
            claimed = jobs.claim_these(
                conn, clock, [each.job_id for each in submitted], kinds=[definition.kind],
                lease_for=timedelta(minutes=5), worker_id=WORKER,
            )  # fmt: skip
        return [Attempt(each, definition, self.around) for each in claimed]

    def attempt(self, behaviour: str, args: Any = 0) -> Attempt:
        [attempt] = self.attempts(behaviour, args)
        return attempt

    def start(self, behaviour: str, args: Any = 0) -> Attempt:
        """Begin an attempt and return when its handler has said something."""
        attempt = self.attempt(behaviour, args)
        self.pool.run([attempt])
        self.until(lambda: self.progress)
        return attempt

    def outcome(self, attempt: Attempt) -> Outcome | None:
        """Wait for the end of an attempt, the only one that runs."""
        ended, outcome = self.done.get(timeout=SOON)
        assert ended is attempt
        self.take_notes()
        return outcome

    def run(self, behaviour: str, args: Any = 0) -> Outcome | None:
        attempt = self.attempt(behaviour, args)
        self.pool.run([attempt])
        return self.outcome(attempt)

    def again(self, attempt: Attempt, checkpoint: str) -> Attempt:
        """The same job's next attempt, from a checkpoint."""
        lease = attempt.lease._replace(attempt=attempt.lease.attempt)
        job = attempt.job._replace(checkpoint=checkpoint, lease=lease)
        return Attempt(job, attempt.definition, self.around)

    def run_many(self, behaviour: str, args: Any, count: int) -> list[Outcome | None]:
        """Run jobs as a worker does: no more at once than there is room for."""
        waiting = self.attempts(behaviour, args, count)
        outcomes: list[Outcome | None] = []
        while len(outcomes) < count:
            running = count - len(waiting) - len(outcomes)
            room = min(self.pool.room(), AT_ONCE - running)
            beginning, waiting = waiting[: max(0, room)], waiting[max(0, room) :]
            if beginning:
                self.pool.run(beginning)
            outcomes.append(self.done.get(timeout=SOON)[1])
            self.take_notes()
        return outcomes

    def steps(self) -> list[int]:
        with self.database.read() as conn:
            return list(conn.execute(text("SELECT number FROM steps ORDER BY number")).scalars())

    def forget(self) -> None:
        """Begin anew for another test."""
        self.take_notes()
        self.progress.clear()
        self.lines.clear()
        with self.database.begin() as conn:
            conn.execute(text("DELETE FROM steps"))

    def take_notes(self) -> None:
        taken = self.around.notes.take()
        self.progress += taken.progress.values()
        self.lines += [line.message for line in taken.lines]

    def until(self, check: Any) -> None:
        deadline = time.monotonic() + SOON
        while not check():
            self.take_notes()
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.002)


QUICK = ProcessSettings(least=1, most=2, idle_for=timedelta(seconds=0.3))


@contextmanager
def rig(variant: str, url: str, settings: ProcessSettings = QUICK, **more: Any) -> Iterator[Rig]:
    made = Rig(variant, url, replace(settings, **more))
    made.pool.start()
    try:
        yield made
    finally:
        made.pool.close()
        made.database.close()


def descriptors() -> int:
    """How many files, sockets and pipes this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def launchers(pool: Rig) -> list[psutil.Process]:
    """The process that starts this pool's children, if there is one."""
    assert isinstance(pool.pool, ProcessPool)
    launcher = pool.pool._launcher
    if launcher is None or launcher.gone or not hasattr(launcher, "_process"):
        return []
    return [psutil.Process(launcher._process.pid)]


def children(pool: Rig) -> list[psutil.Process]:
    """The processes that run handlers."""
    return [child for launcher in launchers(pool) for child in launcher.children()]


def ready_children(pool: Rig) -> list[int]:
    """The ids of those that wait for a job, or run one."""
    assert isinstance(pool.pool, ProcessPool)
    return [each.pid for each in list(pool.pool._children) if each.ready and not each.ending]


def pid_of(pool: Rig, attempt: Attempt) -> int:
    """The process that runs an attempt."""
    where = pool.pool.where(attempt)
    assert where is not None
    return int(where.line.removeprefix("process "))
