"""Workers fire schedules: on time, without polling, on both brokers, whatever the clock does."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, text, update

from milepost import (
    Cron,
    Database,
    Every,
    JobContext,
    Milepost,
    Schedule,
    Settings,
    SyncJobContext,
    job,
    open_database,
)
from milepost.jobs.events import ScheduleFired, ScheduleMissed, ScheduleSkipped, TickFailed
from milepost.settings import RedisSettings
from milepost.store import reading, schedules, schema, tables
from milepost.store.reading import JobView
from milepost.worker import fires
from milepost.worker import worker as worker_module
from tests.worker.apps import App, OpenApp, quick
from tests.worker.waiting import eventually

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@job("moment", schedule=Schedule(Every(seconds=1), overlap="allow", catch_up="all"))
async def moment(ctx: JobContext[None], args: None) -> str:
    return "" if ctx.scheduled_for is None else ctx.scheduled_for.isoformat()


@job("in-a-process", pool="process")
def in_a_process(ctx: SyncJobContext[None], args: None) -> str:
    return "" if ctx.scheduled_for is None else ctx.scheduled_for.isoformat()


@job("nightly", schedule=Cron("0 3 * * *", "Europe/Berlin"))
async def nightly(ctx: JobContext[None], args: None) -> None: ...


@pytest.fixture
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fires in time then was slept for, or told of by a signal."""
    for each in (worker_module, fires):
        monkeypatch.setattr(each, "LOOK_EVERY", HOUR)


async def completed(app: Milepost, count: int, kind: str = "moment") -> list[JobView]:
    async def read() -> list[JobView]:
        found = await app.database.query(reading.recent, limit=1000)
        mine = [each for each in found if each.kind == kind and each.state == "completed"]
        return mine if len(mine) >= count else []

    found: list[JobView] = await eventually(read, what=f"{count} jobs")
    return found[::-1]


@pytest.mark.usefixtures("no_polling")
async def test_a_declared_schedule_fires_in_time_and_its_handler_knows_the_moment(
    open_app: OpenApp,
) -> None:
    app = await open_app(moment)
    async with app.worker():
        found = await completed(app, 3)
    for each in found:
        assert each.scheduled_for is not None
        assert each.result == f'"{each.scheduled_for.isoformat()}"'
        assert each.created_at - each.scheduled_for < timedelta(seconds=5)
    first = found[0].scheduled_for
    assert first is not None
    moments = [first + timedelta(seconds=n) for n in range(len(found))]
    assert [each.scheduled_for for each in found] == moments
    told = app.happened(ScheduleFired)
    assert [(each.schedule, each.job_id) for each in told[:3]] == [
        ("moment", each.id) for each in found[:3]
    ]
    assert (app.happened(ScheduleMissed), app.happened(TickFailed)) == ([], [])


@pytest.mark.usefixtures("no_polling")
async def test_one_that_is_added_or_run_now_does_not_wait_for_a_poll(open_app: OpenApp) -> None:
    app = await open_app(in_a_process)
    async with app.worker():
        view = await app.schedules.add("soon", in_a_process, Schedule(Every(days=1)))
        assert view.next_fire_at > datetime.now(UTC)
        now = await app.schedules.run_now("soon")
        [made] = await completed(app, 1, "in-a-process")
        assert made.id == now.job_id
        assert made.scheduled_for is not None
        assert made.result == f'"{made.scheduled_for.isoformat()}"'
        assert (await app.schedules.find("soon")).last_job_id is None
        await app.schedules.add("every", in_a_process, Schedule(Every(seconds=1)))
        await completed(app, 2, "in-a-process")


@pytest.mark.usefixtures("no_polling")
async def test_what_was_missed_is_told_by_the_worker_that_comes(open_app: OpenApp) -> None:
    app = await open_app(nightly)
    async with app.worker():
        pass
    begin = datetime(2026, 5, 1, 1, tzinfo=UTC)

    def set_back(conn: Connection) -> None:
        conn.execute(update(tables.schedules).values(next_fire_at=begin, owner="ann"))

    await app.database.run(set_back)
    async with app.worker():
        [made] = await completed(app, 1, "nightly")
    [missed] = app.happened(ScheduleMissed)
    assert made.scheduled_for == missed.last_at
    assert (missed.schedule, missed.kind, missed.owner) == ("nightly", "nightly", "ann")
    assert (missed.first_at, missed.caught_up) == (begin, 1)
    assert missed.missed > 100
    view = await app.schedules.find("nightly")
    assert (view.missed, view.missed_at) == (missed.missed, missed.last_at)
    assert view.next_fire_at > datetime.now(UTC)


async def test_a_moment_that_is_skipped_and_a_schedule_that_is_broken_are_told(
    open_app: OpenApp,
) -> None:
    app = await open_app(nightly, queues=("nobody's",))
    await app.schedules.add("a", nightly, Schedule(Every(seconds=1)))
    await app.schedules.add("broken", nightly, Schedule(Cron("* * * * *")))

    def break_it(conn: Connection) -> None:
        is_it = tables.schedules.c.name == "broken"
        values = {"timezone": "Atlantis/Capital", "next_fire_at": datetime(2026, 1, 1, tzinfo=UTC)}
        conn.execute(update(tables.schedules).where(is_it).values(values))

    await app.database.run(break_it)
    async with app.worker():
        await eventually(lambda: len(app.happened(ScheduleSkipped)) > 1)
    assert len(app.happened(ScheduleFired)) == 1
    [failed] = app.happened(TickFailed)
    assert (failed.role, "Atlantis/Capital" in str(failed.error)) == ("fire broken", True)


async def test_fires_reach_the_workers_of_bullmq(
    postgres_store_url: str, redis_settings: RedisSettings
) -> None:
    settings = Settings(database_url=postgres_store_url, redis=redis_settings, worker=quick())
    async with Milepost([moment], settings=settings, observers=()) as app, app.worker():
        assert len(await completed(app, 2)) >= 2


@pytest.fixture
def stepped_url(postgres_store_url: str) -> Iterator[tuple[str, Database]]:
    """A store whose own clock can be set, and a connection that sets it."""
    database = open_database(postgres_store_url)
    with database.begin() as conn:
        conn.execute(text("CREATE SCHEMA stepped"))
        conn.execute(text("CREATE TABLE stepped.step AS SELECT interval '0' AS step"))
        conn.execute(
            text(
                "CREATE FUNCTION stepped.statement_timestamp() RETURNS timestamptz STABLE "
                "LANGUAGE sql AS 'SELECT pg_catalog.statement_timestamp() + step FROM stepped.step'"
            )
        )
    # Ours is found first only where the catalog is named after it.
    yield f"{postgres_store_url}?options=-csearch_path%3Dstepped,pg_catalog,public", database
    database.close()


@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forward", "back"])
async def test_when_the_databases_clock_is_set_by_an_hour_no_moment_fires_twice(
    stepped_url: tuple[str, Database], step: timedelta
) -> None:
    url, setter = stepped_url

    def set_clock(by: timedelta) -> None:
        with setter.begin() as conn:
            conn.execute(text("UPDATE stepped.step SET step = :by"), {"by": by})

    app = App([moment], url)
    async with app, app.worker(), app.worker():
        before = len(await completed(app, 2))
        set_clock(step)
        if step > timedelta(0):
            # "all" makes up for the newest hundred of an hour's moments.
            await completed(app, before + 100)
        else:
            present = await app.database.query(reading.present, app.database.clock)
            due = (await app.schedules.find("moment")).next_fire_at
            assert due - present > HOUR - timedelta(minutes=1)
        set_clock(timedelta(0))
        if step > timedelta(0):
            # As long as the clock was ahead, the moments have fired. The next one is far.
            view = await app.schedules.find("moment")
            assert view.next_fire_at - view.present > HOUR - timedelta(minutes=1)
            # To pause and resume it is the way to have it fire at once.
            await app.schedules.pause("moment")
            await app.schedules.resume("moment")
        count = len(await app.database.query(schedules.fires_of, "moment", limit=10_000))
        await completed(app, count + 2)
    with setter.read() as conn:
        moments = conn.execute(select(tables.jobs.c.scheduled_for)).scalars().all()
    assert max(Counter(moments).values()) == 1
    assert app.happened(TickFailed) == []


async def test_workers_of_two_versions_fire_no_moment_twice(tmp_path: Path) -> None:
    """Both fire whatever the row says, and the row is that of who started last."""

    @job("moment", schedule=Schedule(Every(seconds=2), overlap="allow", catch_up="all"))
    async def newer(ctx: JobContext[None], args: None) -> str:
        return ""

    url = f"sqlite:///{tmp_path}/store.db"
    old, new = App([moment], url), App([newer], url)
    schema.migrate(old.database)
    async with old, new:
        async with old.worker():
            await completed(old, 2)
            async with new.worker():
                assert (await new.schedules.find("moment")).every == timedelta(seconds=2)
                count = len(await completed(new, 0))
                await completed(new, count + 2)
                async with old.worker():
                    assert (await new.schedules.find("moment")).every == timedelta(seconds=1)
                    await completed(new, count + 4)
        moments = [each.scheduled_for for each in await completed(old, 0)]
    assert max(Counter(moments).values()) == 1
