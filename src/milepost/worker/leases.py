"""Keeps the leases of this worker alive, and stops what has lost its own."""

import time
from datetime import timedelta
from typing import Final

from milepost.brokers import Broker
from milepost.errors import JobCancelled, LeaseLost
from milepost.jobs.events import CancelReachedWorker, LeaseWasLost, Observer
from milepost.jobs.leases import HeldLease, Lease
from milepost.pools import Attempt
from milepost.store import workers
from milepost.store.database import Database
from milepost.worker.board import Board

# Shares of a lease: how old a renewal may be, and how long one must have been asked for in vain.
RUN_OUT_AFTER: Final = 0.8
ASKED_FOR: Final = 0.2


class LeaseKeeper:
    """Renews all leases in one statement, three times as often as needed."""

    def __init__(
        self,
        board: Board,
        broker: Broker,
        database: Database,
        *,
        worker_id: str,
        lease_for: timedelta,
        observe: Observer,
    ) -> None:
        self._board = board
        self._broker = broker
        self._database = database
        self._worker_id = worker_id
        self._lease_for = lease_for
        self._observe = observe
        self._renewed_at = time.monotonic()
        self._unanswered_since: float | None = None

    async def tick(self) -> None:
        """Renew once. An error leaves the leases as they are, until they have run out."""
        board = self._board
        leases = board.held()
        asked_at = time.monotonic()
        if self._unanswered_since is None:
            self._unanswered_since = asked_at
        if leases:
            await self._renew(leases)
        self._renewed_at = asked_at
        await self._database.run(
            workers.seen, self._database.clock, self._worker_id, running=len(board.running)
        )
        self._unanswered_since = None

    def lose_run_out(self) -> None:
        """Stop the attempts whose leases have run out: others may have their jobs, or soon.

        Not part of `tick`, which may hang in the very call that should have renewed them.
        """
        now, lease_for = time.monotonic(), self._lease_for.total_seconds()
        since = self._unanswered_since
        if since is None or now - since < ASKED_FOR * lease_for:
            # A process that was paused asks first: nobody may have taken its jobs.
            return
        for attempt in list(self._board.running.values()):
            if now - max(self._renewed_at, attempt.claimed_at) > RUN_OUT_AFTER * lease_for:
                self.lose(attempt, "the store could not be reached to renew it")

    async def _renew(self, leases: list[Lease]) -> None:
        held = {each.lease: each for each in
                await self._broker.renew(leases, lease_for=self._lease_for)}  # fmt: skip
        for lease in leases:
            attempt = self._board.running.get(lease)
            if attempt is None:
                continue
            if lease not in held:
                self.lose(attempt, "another attempt has taken the job over, or it has ended")
            elif held[lease].cancel_requested:
                self.cancel(attempt, held[lease])

    def lose(self, attempt: Attempt, how: str) -> None:
        """Stop an attempt that can write nothing more."""
        if isinstance(attempt.token.why, LeaseLost):
            return
        attempt.token.stop(LeaseLost(f"{attempt.lease} lost its lease: {how}"))
        attempt.loss_reported = True
        self._observe(LeaseWasLost(attempt.lease, attempt.job.kind, how))

    def cancel(self, attempt: Attempt, asked: HeldLease) -> None:
        """Tell an attempt that somebody cancelled its job."""
        if not attempt.token.requested:
            attempt.token.stop(JobCancelled(asked.cancel_reason or ""))
        if not attempt.cancel_reported:
            attempt.cancel_reported = True
            self._observe(
                CancelReachedWorker(attempt.lease, attempt.job.kind, asked.cancel_requested_at)
            )
