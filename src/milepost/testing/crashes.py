"""Kills a job at each of its checkpoints and looks whether its data comes out the same."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection

from milepost.errors import JobFailed, LeaseLost
from milepost.jobs.definition import JobDefinition
from milepost.jobs.progress import Progress
from milepost.jobs.states import JobState
from milepost.pools import Attempt
from milepost.services import svcs
from milepost.testing.sandbox import Sandbox

A = TypeVar("A")

Moment = Literal["before the commit", "after the commit"]


@dataclass(frozen=True)
class World:
    """What a job works on, made anew for each run.

    `contents` reads the data that the job has written, in a form that can be compared.
    """

    services: svcs.Registry
    contents: Callable[[], object]


@dataclass(frozen=True)
class Difference:
    """A crash after which the data came out differently, or the job did not end."""

    save: int
    moment: Moment
    expected: object
    found: object

    def __str__(self) -> str:
        return (
            f"killed {self.moment} of save {self.save}, resumed: "
            f"expected {self.expected!r:.500}, found {self.found!r:.500}"
        )


@dataclass(frozen=True)
class CrashReport:
    """How often the job saves, how often it was killed, and what came out differently."""

    saves: int
    crashes: int
    differences: tuple[Difference, ...] = field(default=())

    @property
    def same(self) -> bool:
        """Whether the data came out the same after every crash."""
        return not self.differences

    def __str__(self) -> str:
        told = "all the same" if self.same else "\n".join(map(str, self.differences))
        return f"{self.saves} saves, killed and resumed {self.crashes} times: {told}"


class _Counting(Attempt):
    """Counts the saves, and crashes at one of them."""

    saves = 0
    crash_at: tuple[int, Moment] | None = None

    def commit(
        self,
        checkpoint: str,
        write: Callable[[Connection], object] | None,
        progress: Progress | None,
    ) -> None:
        """Commit, unless the crash comes first."""
        if isinstance(self.token.why, LeaseLost):
            raise self.token.why
        self.saves += 1
        if self.crash_at is None or self.crash_at[0] != self.saves:
            super().commit(checkpoint, write, progress)
            return
        if self.crash_at[1] == "after the commit":
            super().commit(checkpoint, write, progress)
            self._crash()
        super().commit(checkpoint, lambda conn: self._write_and_crash(conn, write), progress)

    def _write_and_crash(
        self, conn: Connection, write: Callable[[Connection], object] | None
    ) -> None:
        if write is not None:
            write(conn)
        self._crash()

    def _crash(self) -> None:
        # The dead write nothing: what clean-up code of the handler tries to save is refused.
        killed = LeaseLost("killed by crash_at_every_checkpoint")
        self.token.stop(killed)
        raise killed


async def crash_at_every_checkpoint(
    definition: JobDefinition[A, Any, Any],
    args: A,
    *,
    world: Callable[[], AbstractAsyncContextManager[World]],
) -> CrashReport:
    """Run a job to its end, then again and again, killed once at each save and resumed.

    Each save is hit twice: when its data is written and not committed, and right after the
    commit. The crash is an exception in the place of a kill: unlike under kill -9, the `finally`
    blocks of the handler run, but nothing they save is kept. Raises JobFailed where the job does
    not even complete without a crash.
    """
    async with world() as untouched:
        expected, saves = await _run(definition, args, untouched, None)
        if isinstance(expected, JobFailed):
            raise expected
    differences = []
    points: list[tuple[int, Moment]] = [
        (save, moment)
        for save in range(1, saves + 1)
        for moment in ("before the commit", "after the commit")
    ]
    for save, moment in points:
        async with world() as each:
            found, _ = await _run(definition, args, each, (save, moment))
        if found != expected:
            differences.append(Difference(save, moment, expected, found))
    return CrashReport(saves, len(points), tuple(differences))


async def _run(
    definition: JobDefinition[A, Any, Any],
    args: A,
    world: World,
    crash_at: tuple[int, Moment] | None,
) -> tuple[object, int]:
    made: list[_Counting] = []

    def make(*parts: Any) -> _Counting:
        attempt = _Counting(*parts)
        # Only the first attempt is killed; the second one is to finish.
        attempt.crash_at = None if made else crash_at
        made.append(attempt)
        return attempt

    async with Sandbox(world.services) as sandbox:
        job_id = await sandbox.submit(definition, args)
        outcome = await sandbox.attempt(definition, make)
        if outcome is None:
            await sandbox.rescue()
            await sandbox.attempt(definition, make)
        run = await sandbox.look(definition, job_id)
        if run.state is not JobState.COMPLETED:
            failure = JobFailed(job_id, run.view.error or f"the job is {run.state}")
            return failure, made[0].saves
        return world.contents(), made[0].saves
