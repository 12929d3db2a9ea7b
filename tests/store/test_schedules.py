"""Schedules become jobs, each moment once: on both databases, with a clock that tests turn."""

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, func, select, update

from milepost import Cron, Every, JobContext, Schedule, job
from milepost.errors import ScheduleExists, ScheduleInvalid, ScheduleNotFound
from milepost.jobs.outcomes import Completed
from milepost.jobs.registry import Registry
from milepost.jobs.schedules import Turn
from milepost.jobs.states import JobState
from milepost.store import fires, reading, schedules, tables
from milepost.store.fires import Broken, Fired
from milepost.store.reading import JobView
from milepost.store.schedules import ScheduleView
from tests.store.store import HOUR, MINUTE, SECOND, Store

DAY = timedelta(days=1)
NAME = "nightly"


@job("work", priority=7, queue="nights", max_attempts=2)
async def work(ctx: JobContext[None], args: int) -> None: ...


REGISTRY = Registry([work])
NIGHTLY = Cron("0 3 * * *", "Europe/Berlin")


def allowing(rule: Cron | Every = NIGHTLY, **options: Any) -> Schedule:
    return Schedule(rule, **{"overlap": "allow", **options})


class Night:
    """A store with a schedule, and a clock that stands at noon of a Friday."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = store.clock
        # The store's own 123 ms are no place for a moment.
        self.clock.present = datetime(2024, 5, 17, 12, tzinfo=UTC)

    def run(self, work: Any, *args: Any, **options: Any) -> Any:
        with self.store.database.begin() as conn:
            return work(conn, *args, **options)

    def add(self, schedule: Schedule, name: str = NAME, kind: str = "work", **options: Any) -> None:
        self.run(schedules.add, self.clock, name, kind, "1", schedule, **options)

    def declare(self, schedule: Schedule, args: str = "1") -> None:
        self.run(schedules.declare, self.clock, NAME, "work", args, schedule)

    def fire(self, registry: Registry = REGISTRY, **options: Any) -> list[Fired]:
        found = self.run(fires.fire, self.clock, registry, limit=50, **options)
        return [each for each in found if isinstance(each, Fired)]

    def fired_at(self, present: datetime) -> list[datetime]:
        """Set the clock and fire; returns the moments that became jobs."""
        self.clock.present = present
        return [moment for each in self.fire() for moment, job in each.jobs if not job.existed]

    def view(self, name: str = NAME) -> ScheduleView:
        with self.store.database.read() as conn:
            return schedules.find(conn, self.clock, name)

    def jobs(self) -> list[JobView]:
        """The jobs, the oldest first."""
        with self.store.database.read() as conn:
            return reading.recent(conn, limit=1000)[::-1]

    def due_in(self, registry: Registry = REGISTRY) -> timedelta | None:
        with self.store.database.read() as conn:
            return fires.due_in(conn, self.clock, registry)

    def edit(self, **values: Any) -> None:
        """Write into the row, as a person or a backup might."""
        with self.store.database.begin() as conn:
            conn.execute(update(tables.schedules).values(**values))


@pytest.fixture
def night(store: Store) -> Night:
    return Night(store)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_moment_becomes_a_job_that_knows_its_moment(night: Night) -> None:
    night.add(allowing(owner="ann"))
    assert night.due_in() == timedelta(hours=13)
    assert night.fired_at(at("2024-05-18T00:59:59")) == []
    assert night.fired_at(at("2024-05-18T01:00:02")) == [at("2024-05-18T01:00")]
    assert night.fire() == []
    [made] = night.jobs()
    assert (made.kind, made.queue, made.priority, made.max_attempts) == ("work", "nights", 7, 2)
    assert (made.args, made.owner, made.tags) == ("1", "ann", ("schedule:nightly",))
    assert (made.state, made.scheduled_for) == ("available", at("2024-05-18T01:00"))
    assert made.run_at == night.clock.present
    [claimed] = night.store.claim(queue="nights")
    assert claimed.scheduled_for == at("2024-05-18T01:00")
    view = night.view()
    assert (view.last_fire_at, view.last_job_id) == (at("2024-05-18T01:00"), made.id)
    assert (view.next_fire_at, view.missed, view.last_state) == (
        at("2024-05-19T01:00"), 0, "running",
    )  # fmt: skip


def test_options_of_a_schedule_come_before_those_of_its_definition(night: Night) -> None:
    night.add(allowing(queue="other", priority=0))
    night.fired_at(at("2024-05-18T01:00"))
    [made] = night.jobs()
    assert (made.queue, made.priority) == ("other", 0)


@pytest.mark.parametrize(
    ("timezone", "first", "days", "hours"),
    [
        ("Europe/Berlin", "2026-03-27T12:00", 3, ["02:30", "03:00", "02:30"]),
        ("Europe/Berlin", "2026-10-23T12:00", 3, ["02:30", "02:30", "02:30"]),
        ("America/New_York", "2026-03-06T12:00", 3, ["02:30", "03:00", "02:30"]),
        ("America/New_York", "2026-10-30T12:00", 3, ["02:30", "02:30", "02:30"]),
    ],
)
def test_days_of_changing_clocks_fire_once_each(
    night: Night, timezone: str, first: str, days: int, hours: list[str]
) -> None:
    zone = ZoneInfo(timezone)
    night.clock.present = at(first)
    night.add(allowing(Cron("30 2 * * *", timezone)))
    found = [m for n in range(days * 48) for m in night.fired_at(at(first) + n * 30 * MINUTE)]
    assert [f"{moment.astimezone(zone):%H:%M}" for moment in found] == hours


@pytest.mark.parametrize("step", [-HOUR, HOUR], ids=["back", "forward"])
@pytest.mark.parametrize("catch_up", ["once", "all"])
def test_an_hours_step_of_the_clock_fires_no_moment_twice(
    night: Night, step: timedelta, catch_up: Any
) -> None:
    """Around both changes of clocks, with a schedule of every ten minutes and one of a night."""
    for begin in (at("2026-03-28T22:00"), at("2026-10-24T22:00")):
        night.clock.present = begin
        often = allowing(Cron("*/10 * * * *", "Europe/Berlin"), catch_up=catch_up)
        night.add(often, f"often-{begin:%m}")
        night.add(allowing(Cron("30 2 * * *", "Europe/Berlin")), f"night-{begin:%m}")
        for minute in range(0, 6 * 60, 10):
            # At three hours the clock is set, and set right again an hour later.
            stepped = step if 180 <= minute < 240 else timedelta(0)
            night.clock.present = begin + minute * MINUTE + stepped
            night.fire()
        night.run(schedules.pause, night.clock, f"often-{begin:%m}")
        night.run(schedules.pause, night.clock, f"night-{begin:%m}")
    with night.store.database.read() as conn:
        t = tables.jobs.c
        twice = select(t.tags, t.scheduled_for).group_by(t.tags, t.scheduled_for)
        assert conn.execute(twice.having(func.count() > 1)).all() == []
    made = Counter(each.tags[0] for each in night.jobs())
    assert made["schedule:night-03"] == made["schedule:night-10"] == 1
    # Of the hour that the clock has jumped over, once or at its correction, six are not made up for.
    made_often = 35 if catch_up == "all" else 29
    assert made["schedule:often-03"] == made["schedule:often-10"] == made_often


def test_a_row_that_was_set_back_fires_nothing_again(night: Night) -> None:
    night.add(allowing(catch_up="all"))
    for day in (18, 19, 20):
        assert night.fired_at(at(f"2024-05-{day}T01:00")) == [at(f"2024-05-{day}T01:00")]
    night.edit(next_fire_at=at("2024-05-18T01:00"), last_fire_at=None, last_job_id=None, missed=0)
    # Not even where the jobs themselves were pruned.
    with night.store.database.begin() as conn:
        conn.execute(tables.jobs.delete())
    assert night.fired_at(at("2024-05-20T02:00")) == []
    assert (night.view().next_fire_at, night.view().missed) == (at("2024-05-21T01:00"), 0)


def test_the_key_of_a_moment_is_unique_whoever_writes_it(night: Night) -> None:
    night.add(allowing())
    night.fired_at(at("2024-05-18T01:00"))
    again = tables.schedule_fires.insert().values(
        schedule=NAME, moment=at("2024-05-18T01:00"), job_id=1, skipped=False,
        fired_at=night.clock.now(),
    )  # fmt: skip
    with pytest.raises(Exception, match=r"(?i)unique"), night.store.database.begin() as conn:
        conn.execute(again)


def test_many_at_once_fire_each_moment_once(night: Night) -> None:
    """Ten schedules, eight threads that all want to fire all of them."""
    for n in range(10):
        night.add(allowing(), f"n{n}")
    night.clock.present = at("2024-05-18T01:00")
    together = threading.Barrier(8)

    def fire() -> None:
        together.wait()
        for _ in range(3):
            night.fire()

    threads = [threading.Thread(target=fire) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert Counter(each.tags[0] for each in night.jobs()) == {
        f"schedule:n{n}": 1 for n in range(10)
    }
    assert night.due_in() == DAY


def test_who_comes_too_late_for_a_moment_fires_nothing(night: Night) -> None:
    """Should two have read the same row after all, the compare lets one of them move it."""
    night.add(allowing())
    night.clock.present = at("2024-05-18T01:00")
    stale = night.view()
    assert len(night.fire()) == 1
    turn = Turn((at("2024-05-18T01:00"),), at("2024-05-19T01:00"))
    request = fires.request_of(work, stale, at("2024-05-18T01:00"))
    late = night.run(fires._fire, night.clock, stale, turn, [request])
    assert (late.jobs, len(night.jobs())) == ((), 1)


def test_a_death_before_the_commit_leaves_the_moment_to_the_next(night: Night) -> None:
    night.add(allowing())
    night.clock.present = at("2024-05-18T01:00")

    class Dies(Exception): ...

    def fire_and_die(conn: Connection) -> None:
        [fired] = fires.fire(conn, night.clock, REGISTRY, limit=1)
        assert isinstance(fired, Fired)
        assert len(fired.jobs) == 1
        raise Dies

    with pytest.raises(Dies):
        night.run(fire_and_die)
    assert (night.jobs(), night.due_in()) == ([], timedelta(0))
    assert night.fired_at(at("2024-05-18T01:00")) == [at("2024-05-18T01:00")]


def test_what_was_missed_is_counted_and_told(night: Night) -> None:
    night.add(allowing())
    night.clock.present = at("2024-05-21T00:30")
    assert night.view().overdue
    [fired] = night.fire()
    assert [moment for moment, _ in fired.jobs] == [at("2024-05-20T01:00")]
    assert (fired.turn.missed, fired.turn.first_missed_at) == (3, at("2024-05-18T01:00"))
    view = night.view()
    assert (view.missed, view.missed_at, view.overdue) == (3, at("2024-05-20T01:00"), False)
    assert night.fired_at(at("2024-05-21T01:00:30")) == [at("2024-05-21T01:00")]
    assert (night.view().missed, night.view().missed_at) == (3, at("2024-05-20T01:00"))


def test_while_a_job_has_not_ended_the_next_moment_is_skipped(night: Night) -> None:
    night.add(Schedule(Every(minutes=1)))
    [first] = night.fired_at(at("2024-05-17T12:01"))
    assert night.fired_at(at("2024-05-17T12:02")) == []
    [made] = night.jobs()
    with night.store.database.read() as conn:
        [newest, oldest] = schedules.fires_of(conn, NAME)
    assert (oldest.moment, oldest.skipped, oldest.job_id) == (first, False, made.id)
    assert (newest.skipped, newest.job_id) == (True, made.id)
    assert night.view().last_fire_at == first

    [claimed] = night.store.claim(queue="nights")
    night.store.settle(claimed, Completed("null"))
    assert night.fired_at(at("2024-05-17T12:03")) == [at("2024-05-17T12:03")]


def test_jitter_delays_the_job_and_not_the_moment(night: Night) -> None:
    night.add(allowing(jitter=HOUR))
    moment = at("2024-05-18T01:00")
    night.fired_at(moment)
    [made] = night.jobs()
    assert (made.state, made.scheduled_for) == (JobState.SCHEDULED, moment)
    # SQLite keeps such moments to the millisecond.
    assert abs(made.run_at - moment - allowing(jitter=HOUR).delay(NAME, moment)) < SECOND / 500
    assert night.view().next_fire_at == moment + DAY


def test_a_paused_schedule_fires_nothing_and_makes_up_for_nothing(night: Night) -> None:
    night.add(allowing(catch_up="all"))
    night.run(schedules.pause, night.clock, NAME)
    night.run(schedules.pause, night.clock, NAME)
    assert (night.fired_at(at("2024-05-19T12:00")), night.due_in()) == ([], None)
    assert not night.view().overdue
    night.run(schedules.resume, night.clock, NAME)
    assert (night.view().paused_at, night.view().missed) == (None, 0)
    assert night.fired_at(at("2024-05-20T01:00")) == [at("2024-05-20T01:00")]
    # To resume what is not paused moves nothing, not even what is due.
    night.clock.present = at("2024-05-21T01:00")
    night.run(schedules.resume, night.clock, NAME)
    assert night.fired_at(at("2024-05-21T01:00")) == [at("2024-05-21T01:00")]


def test_code_that_declares_the_same_again_moves_nothing(night: Night) -> None:
    night.declare(allowing())
    night.clock.present = at("2024-05-18T01:00:30")
    # A worker starts when a moment is due, and before another has fired it.
    night.declare(allowing())
    assert night.fired_at(at("2024-05-18T01:00:31")) == [at("2024-05-18T01:00")]
    night.declare(allowing())
    assert night.fire() == []
    assert night.view().next_fire_at == at("2024-05-19T01:00")


def test_two_versions_of_the_code_fire_no_moment_twice_and_lose_none(night: Night) -> None:
    old, new = allowing(Cron("0 1 * * *")), allowing(Cron("0 2 * * *"))
    night.declare(old)
    found: list[datetime] = []
    begin = at("2024-05-17T12:00")
    for half_hours in range(2 * 48):
        night.clock.present = begin + half_hours * 30 * MINUTE
        # Workers of both versions start all the time; who starts last is obeyed.
        night.declare(new if half_hours % 2 else old)
        found += night.fired_at(night.clock.present)
    assert len(found) == len(set(found))
    assert {moment.hour for moment in found} <= {1, 2}
    night.declare(new)
    assert night.view().cron == "0 2 * * *"


def test_a_changed_rule_makes_up_for_nothing_and_swallows_nothing(night: Night) -> None:
    night.declare(allowing(Cron("0 1 * * 1")))  # Mondays
    night.clock.present = at("2024-05-23T12:00")  # a Thursday, after an outage
    night.declare(allowing(Cron("0 1 * * *")))
    assert night.fired_at(at("2024-05-23T12:00")) == [at("2024-05-23T01:00")]
    night.declare(allowing(Cron("0 3 * * *")))
    assert night.fired_at(at("2024-05-23T12:01")) == []
    assert night.view().next_fire_at == at("2024-05-24T03:00")
    # Other options leave the moments alone.
    night.declare(allowing(Cron("0 3 * * *"), jitter=MINUTE), args="2")
    assert (night.view().next_fire_at, night.view().args) == (at("2024-05-24T03:00"), "2")


def test_what_was_added_by_hand_is_not_changed_by_code(night: Night) -> None:
    night.add(allowing(Cron("0 4 * * *")))
    night.declare(allowing())
    assert (night.view().cron, night.view().declared) == ("0 4 * * *", False)
    with pytest.raises(ScheduleExists, match="there is a schedule 'nightly' already"):
        night.add(allowing())
    night.add(allowing(Every(minutes=5)), replace=True)
    assert (night.view().cron, night.view().every) == (None, 5 * MINUTE)


def test_only_who_knows_a_kind_fires_it(night: Night) -> None:
    night.add(allowing(), kind="of-another-program")
    assert night.due_in() is None
    assert night.fired_at(at("2024-05-18T02:00")) == []
    assert night.view().overdue


def test_a_broken_row_is_told_and_hinders_no_other(night: Night) -> None:
    night.add(allowing())
    night.edit(timezone="Atlantis/Capital", name="broken")
    night.add(allowing())
    night.clock.present = at("2024-05-18T02:00")
    [broken, fired] = night.run(fires.fire, night.clock, REGISTRY, limit=50)
    assert isinstance(broken, Broken)
    assert "no time zone 'Atlantis/Capital'" in str(broken.error)
    assert len(fired.jobs) == 1
    assert night.fire(without=["broken"]) == []
    with night.store.database.read() as conn:
        shown = schedules.listed(conn, night.clock)
    assert [each.name for each in shown] == ["broken", NAME]
    with pytest.raises(ScheduleInvalid):
        shown[0].upcoming(2)


def test_a_removed_schedule_leaves_its_jobs(night: Night) -> None:
    night.add(allowing())
    night.fired_at(at("2024-05-18T01:00"))
    night.run(schedules.remove, NAME)
    for act in (schedules.pause, schedules.resume, schedules.find):
        with pytest.raises(ScheduleNotFound, match="no schedule 'nightly' in this store"):
            night.run(act, night.clock, NAME)
    with pytest.raises(ScheduleNotFound):
        night.run(schedules.remove, NAME)
    assert len(night.jobs()) == 1
    assert night.store.rows(select(tables.schedule_fires)) == []


def test_owners_see_their_own(night: Night) -> None:
    night.add(allowing(owner="ann"), "a")
    night.add(allowing(owner="bob"), "b")
    with night.store.database.read() as conn:
        mine = schedules.listed(conn, night.clock, owner="ann")
        assert [each.name for each in mine] == ["a"]
        assert schedules.names(conn) == ["a", "b"]


def test_fires_are_forgotten_when_nothing_could_bring_them_back(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fires, "KEEP_FIRES", 3)
    night.add(allowing(Every(hours=1)))
    for hour in range(1, 54):
        night.fired_at(at("2024-05-17T12:00") + hour * HOUR)
    night.run(fires.prune, night.clock, NAME)
    with night.store.database.read() as conn:
        kept = schedules.fires_of(conn, NAME, limit=100)
    # All of two days, the one at its beginning too.
    assert len(kept) == 49
    night.clock.turn(30 * DAY)
    night.run(fires.prune, night.clock, NAME)
    with night.store.database.read() as conn:
        assert len(schedules.fires_of(conn, NAME, limit=100)) == 3
        assert reading.counts(conn) == {("nights", JobState.AVAILABLE): 53}
