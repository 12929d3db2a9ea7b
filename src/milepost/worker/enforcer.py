"""Sees to it that attempts which were told to stop do stop, and reports those that block."""

import time
from datetime import timedelta

from milepost.errors import (
    CpuLimitExceeded,
    LeaseLost,
    SilenceLimitExceeded,
    TimeLimitExceeded,
)
from milepost.jobs.events import AttemptLeftBehind, HandlerBlockedLoop, Observer, PoolUsedUp
from milepost.jobs.outcomes import Interrupted
from milepost.pools import Attempt, Pool
from milepost.pools.execution import outcome_of
from milepost.worker.board import Board
from milepost.worker.leases import LeaseKeeper
from milepost.worker.runner import Runner


class Enforcer:
    """First the token, after a grace period the pool's force, after another one without it."""

    def __init__(
        self,
        board: Board,
        runner: Runner,
        keeper: LeaseKeeper,
        *,
        cancel_grace: timedelta,
        blocked_after: timedelta,
        observe: Observer,
    ) -> None:
        self._board = board
        self._runner = runner
        self._keeper = keeper
        self._grace = cancel_grace.total_seconds()
        self._blocked_after = blocked_after
        self._observe = observe
        self._told_at: dict[Attempt, float] = {}
        self._forced: set[Attempt] = set()
        self._reported: set[Pool] = set()

    async def tick(self) -> None:
        """Look at every running attempt once."""
        self._keeper.lose_run_out()
        now = time.monotonic()
        running = list(self._board.running.values())
        for attempt in running:
            self._limit(attempt, now)
            if attempt.token.why is not None and not attempt.token.stopping:
                self._press(attempt, now)
        self._told_at = {a: at for a, at in self._told_at.items() if a.lease in self._board.running}
        self._forced &= self._told_at.keys()
        self._watch_for_blocking()

    def _limit(self, attempt: Attempt, now: float) -> None:
        if attempt.began is None:
            return
        definition, time_limit = attempt.definition, attempt.job.time_limit
        if time_limit is not None and now - attempt.began > time_limit.total_seconds():
            attempt.token.stop(TimeLimitExceeded(f"ran longer than {time_limit}"))
        silence = definition.silence_limit
        silent_for = 0.0 if attempt.is_saving else now - attempt.heard_at
        if silence is not None and silent_for > silence.total_seconds():
            attempt.token.stop(
                SilenceLimitExceeded(f"neither saved nor reported progress for {silence}")
            )
        if definition.cpu_limit is not None:
            used = self._runner.pool_of(attempt).cpu_used(attempt)
            if used is not None and used > definition.cpu_limit:
                attempt.token.stop(
                    CpuLimitExceeded(f"used more than {definition.cpu_limit} of CPU time")
                )

    def _press(self, attempt: Attempt, now: float) -> None:
        told_at = self._told_at.setdefault(attempt, now)
        # Without its lease an attempt has nothing to save, so there is nothing to wait for.
        grace = 0 if isinstance(attempt.token.why, LeaseLost) else self._grace
        if now - told_at >= grace and attempt not in self._forced:
            self._forced.add(attempt)
            self._runner.pool_of(attempt).force(attempt)
        if now - told_at >= grace + max(self._grace, 1):
            self.leave_behind(attempt)

    def leave_behind(self, attempt: Attempt) -> None:
        """Settle an attempt whose handler does not end; its fence keeps it from writing."""
        pool = self._runner.pool_of(attempt)
        room, where = pool.room(), pool.where(attempt)
        line, stack = (None, None) if where is None else (where.line, where.stack)
        why = attempt.token.why
        outcome = None if why is None else outcome_of(attempt, why)
        # Its data may be in a database that does not know of the store's fence yet.
        attempt.token.stop(LeaseLost(f"{attempt.lease} did not stop when told and was left behind"))
        attempt.loss_reported = True
        still = self._runner.leave_behind(attempt, outcome)
        self._observe(AttemptLeftBehind(attempt.lease, attempt.job.kind, line, stack, still))
        if room > 0 and pool.room() == 0 and not self._runner.stopping:
            self._observe(PoolUsedUp(still))

    def _watch_for_blocking(self) -> None:
        for pool in self._runner.pools:
            blocked = pool.blocked(self._blocked_after)
            if blocked is None:
                self._reported.discard(pool)
                continue
            self._give_back_from(pool)
            if pool not in self._reported:
                self._reported.add(pool)
                job = None if blocked.attempt is None else blocked.attempt.job
                self._observe(
                    HandlerBlockedLoop(
                        None if job is None else job.lease,
                        None if job is None else job.kind,
                        blocked.where,
                        blocked.blocked_for,
                    )
                )

    def _give_back_from(self, pool: Pool) -> None:
        """Let others have what cannot begin here: nobody knows when the pool is free again."""
        for attempt in list(self._board.running.values()):
            if attempt.began is None and self._runner.pool_of(attempt) is pool:
                # When its turn comes after all, it ends before its handler begins.
                attempt.token.stop(LeaseLost(f"{attempt.lease} was given back before it began"))
                attempt.loss_reported = True
                self._runner.leave(attempt, Interrupted())
