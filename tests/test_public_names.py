"""The public names are exactly these."""

import milepost

NAMES = [
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


def test_the_public_names_are_exactly_these() -> None:
    assert milepost.__all__ == sorted(milepost.__all__) == NAMES


def test_each_says_what_it_is() -> None:
    for name in NAMES:
        assert getattr(milepost, name).__doc__, name
