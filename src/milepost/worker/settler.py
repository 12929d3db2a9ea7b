"""Settles ended attempts, many in one transaction."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from milepost.brokers import Broker
from milepost.jobs.events import (
    AttemptFinished,
    CancelReachedWorker,
    LeaseWasLost,
    Observer,
    TickFailed,
)
from milepost.jobs.leases import Settlement
from milepost.jobs.outcomes import Cancelled, Failed, Misfit
from milepost.worker.board import Board, Ended
from milepost.worker.misfits import Misfits
from milepost.worker.reporter import Reporter

MOST_AT_ONCE: Final = 500


class Settler:
    """Keeps outcomes until the store has them, however long that takes."""

    def __init__(
        self,
        board: Board,
        broker: Broker,
        reporter: Reporter,
        misfits: Misfits,
        *,
        most_rescues: int,
        on_settled: Callable[[], None],
        observe: Observer,
    ) -> None:
        self._board = board
        self._broker = broker
        self._reporter = reporter
        self._misfits = misfits
        self._most_rescues = most_rescues
        self._on_settled = on_settled
        self._observe = observe

    async def tick(self) -> None:
        """Settle all that has ended; what cannot be settled now stays for the next tick."""
        board = self._board
        while board.ended or board.settling:
            while board.ended and len(board.settling) < MOST_AT_ONCE:
                board.settling.append(board.ended.popleft())
            # The last progress and log lines belong to the attempt, so they come first.
            await self._report()
            settlements = [await self._settlement(ended) for ended in board.settling]
            states = await self._broker.settle(settlements)
            settled, board.settling = board.settling, []
            # Too many unsettled attempts keep new ones from beginning.
            self._on_settled()
            for ended, (job, outcome, *_) in zip(settled, settlements, strict=True):
                if not isinstance(outcome, Misfit):
                    self._misfits.forget(job.lease.job_id)
                if job.lease in states:
                    self._report_cancel(ended)
                    self._observe(
                        AttemptFinished(
                            job.lease, job.kind, job.queue, outcome, states[job.lease],
                            timedelta(seconds=ended.at - (ended.attempt.began or ended.at)),
                        )
                    )  # fmt: skip
                else:
                    how = f"its outcome ({type(outcome).__name__}) came too late"
                    self._observe(LeaseWasLost(job.lease, job.kind, how))

    def _report_cancel(self, ended: Ended) -> None:
        """Say that a cancel came by the handler's own save, or its child process."""
        attempt = ended.attempt
        if isinstance(ended.outcome, Cancelled) and not attempt.cancel_reported:
            attempt.cancel_reported = True
            at = attempt.cancel_requested_at
            self._observe(CancelReachedWorker(attempt.lease, attempt.job.kind, at))

    async def _report(self) -> None:
        try:
            await self._reporter.tick()
        except Exception as error:  # noqa: BLE001 (for people only: no outcome waits for it)
            self._observe(TickFailed("report", error))

    async def _settlement(self, ended: Ended) -> Settlement:
        job = ended.attempt.job
        match ended.outcome:
            case Misfit() as misfit:
                return await self._misfits.settlement(job, misfit)
            case Failed() as failed:
                backoff = job.backoff or ended.attempt.definition.backoff
                # Drawn from the attempt: settling it again after a lost answer says the same.
                chance = random.Random(f"{job.lease}").random()  # noqa: S311
                return Settlement(job, failed, backoff.wait(job.failures + 1, chance=chance))
            case outcome:
                return Settlement(job, outcome, most_rescues=self._most_rescues)
