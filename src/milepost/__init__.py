"""Long-running jobs that report progress, stop when asked, and resume after a crash."""

from milepost.app import Milepost
from milepost.errors import (
    JobCancelled,
    JobFailed,
    JobInterrupted,
    JobNotFound,
    JobWasCancelled,
    LeaseLost,
    LimitExceeded,
    MilepostError,
    PayloadInvalid,
    Snooze,
    Unrecoverable,
)
from milepost.handles import Cancellation, JobHandle
from milepost.jobs.backoff import Backoff
from milepost.jobs.context import JobContext, SyncJobContext
from milepost.jobs.definition import JobDefinition, job
from milepost.jobs.flows import Child
from milepost.jobs.limits import Concurrency, Rate
from milepost.jobs.progress import Estimate, Part, Progress
from milepost.jobs.repeats import Debounce, Throttle
from milepost.jobs.requests import child
from milepost.jobs.retention import Keep, Retention
from milepost.jobs.rules import Cron, Every
from milepost.jobs.schedules import Schedule
from milepost.jobs.states import JobState
from milepost.settings import Settings, WorkerSettings
from milepost.store.database import Database, open_database
from milepost.worker import Worker

__all__ = [
    "Backoff",
    "Cancellation",
    "Child",
    "Concurrency",
    "Cron",
    "Database",
    "Debounce",
    "Estimate",
    "Every",
    "JobCancelled",
    "JobContext",
    "JobDefinition",
    "JobFailed",
    "JobHandle",
    "JobInterrupted",
    "JobNotFound",
    "JobState",
    "JobWasCancelled",
    "Keep",
    "LeaseLost",
    "LimitExceeded",
    "Milepost",
    "MilepostError",
    "Part",
    "PayloadInvalid",
    "Progress",
    "Rate",
    "Retention",
    "Schedule",
    "Settings",
    "Snooze",
    "SyncJobContext",
    "Throttle",
    "Unrecoverable",
    "Worker",
    "WorkerSettings",
    "child",
    "job",
    "open_database",
]
