"""A user's test of his own job."""

from dataclasses import dataclass
from datetime import timedelta

import pytest
import svcs

from milepost import JobContext, JobFailed, JobState, Progress, Snooze, SyncJobContext, job
from milepost.testing import Sandbox, run_job


@dataclass(frozen=True)
class Greet:
    name: str


@dataclass(frozen=True)
class At:
    step: int = 0


class Greeter:
    def __init__(self, greeting: str) -> None:
        self.greeting = greeting


@job("greet")
async def greet(ctx: JobContext[At], args: Greet, *, greeter: Greeter) -> str:
    await ctx.save(At(1), progress=Progress(1, 1))
    ctx.log.info("greeting %s", args.name)
    return f"{greeter.greeting} {args.name}"


@job("count")
def count(ctx: SyncJobContext[At], args: Greet) -> int:
    ctx.save(At(3))
    return len(args.name)


@job("moody")
async def moody(ctx: JobContext[None], args: Greet) -> None:
    if args.name == "later":
        raise Snooze(timedelta(minutes=5))
    raise ValueError(args.name)


async def test_a_job_runs_with_services_and_shows_all_it_did() -> None:
    services = svcs.Registry()
    services.register_value(Greeter, Greeter("Good morning,"))

    run = await run_job(greet, Greet("Ada"), services=services)

    assert run.result == "Good morning, Ada"
    assert run.checkpoint == At(1)
    assert run.view.progress == Progress(1, 1)
    assert [line.message for line in run.log] == ["greeting Ada"]


async def test_a_function_runs_too() -> None:
    run = await run_job(count, Greet("Ada"))

    assert (run.result, run.checkpoint) == (3, At(3))


async def test_a_failure_is_an_outcome_and_its_result_raises() -> None:
    run = await run_job(moody, Greet("no"))

    assert run.state is JobState.SCHEDULED
    with pytest.raises(JobFailed, match="ValueError: no"):
        _ = run.result


async def test_a_snooze_costs_no_failure() -> None:
    run = await run_job(moody, Greet("later"))

    assert (run.state, run.view.failures) == (JobState.SCHEDULED, 0)


async def test_stored_args_that_do_not_fit_fail_at_once() -> None:
    @job("greet")
    async def older(ctx: JobContext[At], args: int) -> str:
        raise AssertionError

    async with Sandbox() as sandbox:
        job_id = await sandbox.submit(greet, Greet("Ada"))
        await sandbox.attempt(older)
        run = await sandbox.look(older, job_id)

    assert run.state is JobState.FAILED
    with pytest.raises(JobFailed, match="args of greet does not fit int"):
        _ = run.result


async def test_a_missing_service_is_said_readably() -> None:
    run = await run_job(greet, Greet("Ada"))

    assert run.state is JobState.FAILED
    assert "greeter: Greeter" in (run.view.error or "")
