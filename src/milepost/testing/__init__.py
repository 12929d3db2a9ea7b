"""For users' tests: run a job without a worker, and crash it at every checkpoint."""

from milepost.testing.crashes import CrashReport, Difference, World, crash_at_every_checkpoint
from milepost.testing.sandbox import JobRun, Sandbox, run_job

__all__ = [
    "CrashReport",
    "Difference",
    "JobRun",
    "Sandbox",
    "World",
    "crash_at_every_checkpoint",
    "run_job",
]
