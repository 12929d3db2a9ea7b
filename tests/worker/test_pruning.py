"""What a worker deletes of the history, and what its definitions say of that."""

from datetime import timedelta

from sqlalchemy import func, select

from milepost import Database, JobContext, JobDefinition, Keep, Retention, WorkerSettings, job
from milepost.jobs.registry import AnyDefinition, Registry
from milepost.store import pruning, retention
from milepost.store.tables import jobs
from milepost.worker.pruner import Pruner
from tests.worker.apps import OpenApp
from tests.worker.waiting import SOON, eventually


@job("poll", retention=Retention(completed=Keep(count=2)))
async def poll(ctx: JobContext[None], args: int) -> int:
    return args


@job("report")
async def report(ctx: JobContext[None], args: int) -> int:
    return args


def kept(database: Database, kind: str) -> int:
    with database.read() as conn:
        return conn.execute(select(func.count()).where(jobs.c.kind == kind)).scalar_one()


async def run_three(open_app: OpenApp, *definitions: AnyDefinition) -> None:
    app = await open_app(*definitions)
    async with app.worker():
        for definition in definitions:
            for handle in await app.submit_many(definition, [1, 2, 3]):
                await handle.result(SOON)


async def test_a_worker_keeps_what_its_definitions_say_and_the_rest_as_its_settings(
    open_app: OpenApp, database: Database
) -> None:
    await run_three(open_app, poll, report)
    settings = WorkerSettings(keep_completed_count=1)
    await Pruner(database, Registry([poll, report]), settings).tick()
    assert (kept(database, "poll"), kept(database, "report")) == (2, 1)


async def test_a_worker_that_does_not_know_a_kind_keeps_it_as_long_as_the_others(
    open_app: OpenApp, database: Database
) -> None:
    await Pruner(database, Registry([poll]), WorkerSettings()).tick()
    await run_three(open_app, poll)
    stranger = WorkerSettings(keep_completed_for=timedelta(0), keep_completed_count=1)
    await Pruner(database, Registry([report]), stranger).tick()
    assert kept(database, "poll") == 2


async def test_the_rule_of_a_kind_that_another_program_runs_counts_as_well(
    database: Database,
) -> None:
    rule = Retention(completed=Keep(count=2))
    kind: AnyDefinition = JobDefinition(
        "elsewhere", args=int, checkpoint=type(None), result=int, handler=None, retention=rule
    )
    await Pruner(database, Registry([kind, report]), WorkerSettings()).tick()
    assert await database.query(retention.stored_rules) == {"elsewhere": rule}


async def test_more_than_one_transaction_takes_is_pruned_as_well(
    open_app: OpenApp, database: Database
) -> None:
    app = await open_app(poll)
    total = 2 * pruning.AT_ONCE + 7
    async with app.worker():
        await app.submit_many(poll, range(total))
        await eventually(lambda: finished(database) == total, what="the jobs' end")
    await Pruner(database, Registry([poll]), WorkerSettings()).tick()
    assert kept(database, "poll") == 2


def finished(database: Database) -> int:
    with database.read() as conn:
        found = select(func.count()).where(jobs.c.finished_at.is_not(None))
        return conn.execute(found).scalar_one()
