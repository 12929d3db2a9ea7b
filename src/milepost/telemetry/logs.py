"""Events as lines of the program's log."""

import logging

from milepost.jobs.events import (
    AttemptFinished,
    AttemptLeftBehind,
    AttemptStarted,
    CancelReachedWorker,
    Event,
    HandlerBlockedLoop,
    JobRescued,
    LeaseWasLost,
    PoolUsedUp,
    TickFailed,
    WorkerStarted,
    WorkerStopped,
    WorkerStopping,
)
from milepost.jobs.leases import Lease
from milepost.jobs.outcomes import Crashed, Failed, Misfit, Snoozed
from milepost.jobs.scope import scope, within

logger = logging.getLogger("milepost.worker")


def log_event(event: Event) -> None:
    """Write an event to the logger `milepost.worker`, with the job that it is about."""
    about = scope().about(
        getattr(event, "lease", None), getattr(event, "kind", None), getattr(event, "queue", None)
    )
    if isinstance(event, JobRescued):
        about = about.about(Lease(event.job_id, event.attempt), event.kind, event.queue)
    with within(about):
        _write(event)


def _write(event: Event) -> None:
    match event:
        case WorkerStarted():
            logger.info(
                "worker %s started: queues %s, %d at once",
                event.worker_id, ", ".join(event.queues) or "none", event.concurrency,
            )  # fmt: skip
        case WorkerStopping(forced=True):
            logger.warning("told to stop again: leaving %d jobs to others now", event.running)
        case WorkerStopping():
            logger.info("stopping: %d running jobs save and go on elsewhere", event.running)
        case WorkerStopped():
            logger.info("worker %s stopped", event.worker_id)
        case AttemptStarted():
            logger.debug("%s (%s) started", event.lease, event.kind)
        case AttemptFinished(outcome=Failed(error=error) | Crashed(error=error) as outcome):
            logger.warning(
                "%s (%s) %s after %.1f s: %s; now %s",
                event.lease, event.kind, type(outcome).__name__.lower(),
                event.ran_for.total_seconds(), error, event.state,
            )  # fmt: skip
        case AttemptFinished(outcome=Misfit() as misfit):
            logger.warning(
                "%s (%s) left for a newer worker: %s; now %s",
                event.lease, event.kind, misfit.error, event.state,
            )  # fmt: skip
        case AttemptFinished(outcome=Snoozed(reason=str(reason))):
            logger.info(
                "%s (%s) snoozed after %.1f s: %s; now %s",
                event.lease, event.kind, event.ran_for.total_seconds(), reason, event.state,
            )  # fmt: skip
        case AttemptFinished():
            logger.info(
                "%s (%s) %s after %.1f s; now %s",
                event.lease, event.kind, type(event.outcome).__name__.lower(),
                event.ran_for.total_seconds(), event.state,
            )  # fmt: skip
        case CancelReachedWorker():
            logger.info("%s (%s) told to stop: its job was cancelled", event.lease, event.kind)
        case LeaseWasLost():
            logger.warning(
                "%s (%s) lost its lease: %s; it can write nothing more",
                event.lease, event.kind, event.how,
            )  # fmt: skip
        case JobRescued():
            logger.warning(
                "rescued job %d from attempt %d: %s; now %s",
                event.job_id, event.attempt, event.why, event.state,
            )  # fmt: skip
        case HandlerBlockedLoop():
            logger.warning(
                "%s (%s) has blocked the coroutines' loop for %.1f s at %s: "
                "make it a `def` handler, or await there",
                event.lease, event.kind, event.blocked_for.total_seconds(), event.where,
            )  # fmt: skip
        case AttemptLeftBehind():
            logger.error(
                "%s (%s) did not stop when told, and was left behind at %s; "
                "it can write nothing more; of such handlers %d still run here%s",
                event.lease, event.kind, event.where, event.still,
                "" if event.stack is None else f"; it stands at\n{event.stack.rstrip()}",
            )  # fmt: skip
        case PoolUsedUp():
            logger.error(
                "this worker begins no more `def` handlers in threads: %d handlers that were told "
                "to stop still run here; restart it",
                event.still,
            )  # fmt: skip
        case TickFailed():
            logger.error(
                "%s: %s: %s; trying again",
                event.role, type(event.error).__name__, event.error,
                exc_info=event.error if logger.isEnabledFor(logging.DEBUG) else None,
            )  # fmt: skip
        case _:
            # Those that others count, or log where they happen.
            pass
