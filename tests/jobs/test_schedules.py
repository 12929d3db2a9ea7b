"""What fires of the moments that nobody was there for, and how late a job may be by chance."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milepost import Cron, Every, JobContext, Schedule, job
from milepost.errors import DefinitionInvalid, ScheduleInvalid
from milepost.jobs.schedules import MOST_COUNTED, CatchUp, take_turn

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
THREE = datetime(2026, 5, 1, 3, tzinfo=UTC)
NIGHTLY = Cron("0 3 * * *")


def schedule(catch_up: CatchUp, rule: Cron | Every = NIGHTLY, limit: int = 100) -> Schedule:
    return Schedule(rule, catch_up=catch_up, catch_up_limit=limit, overlap="allow")


@pytest.mark.parametrize("catch_up", ["skip", "once", "all"])
def test_what_is_in_time_fires_and_nothing_was_missed(catch_up: CatchUp) -> None:
    turn = take_turn(schedule(catch_up), THREE, THREE + MINUTE)
    assert turn.fire == (THREE,)
    assert (turn.next_at, turn.missed, turn.first_missed_at) == (THREE + DAY, 0, None)


@pytest.mark.parametrize(
    ("catch_up", "limit", "fired"),
    [
        ("skip", 100, []),
        ("once", 100, [3]),
        ("all", 100, [0, 1, 2, 3]),
        ("all", 2, [2, 3]),
    ],
)
def test_after_an_outage_the_policy_says_what_is_made_up_for(
    catch_up: CatchUp, limit: int, fired: list[int]
) -> None:
    turn = take_turn(schedule(catch_up, limit=limit), THREE, THREE + 3 * DAY + HOUR)
    assert turn.fire == tuple(THREE + days * DAY for days in fired)
    assert turn.next_at == THREE + 4 * DAY
    assert (turn.missed, turn.first_missed_at, turn.last_missed_at) == (4, THREE, THREE + 3 * DAY)


@pytest.mark.parametrize("catch_up", ["skip", "once"])
def test_the_newest_moment_in_time_stands_for_those_before_it(catch_up: CatchUp) -> None:
    turn = take_turn(schedule(catch_up), THREE, THREE + 2 * DAY + timedelta(seconds=5))
    assert turn.fire == (THREE + 2 * DAY,)
    assert (turn.missed, turn.last_missed_at) == (2, THREE + DAY)


def test_after_years_nobody_walks_through_every_minute() -> None:
    every_minute = schedule("all", Cron("* * * * *"), limit=1000)
    now = THREE + 2000 * DAY
    turn = take_turn(every_minute, THREE, now)
    assert turn.fire == tuple(now - n * MINUTE for n in range(999, -1, -1))
    assert (turn.missed, turn.first_missed_at) == (MOST_COUNTED, THREE)


def test_what_has_fired_never_fires_again_whatever_the_row_says() -> None:
    before = {THREE, THREE + DAY}
    turn = take_turn(schedule("all"), THREE, THREE + 2 * DAY + HOUR, fired=before)
    assert turn.fire == (THREE + 2 * DAY,)
    assert turn.missed == 1
    assert take_turn(schedule("once"), THREE, THREE + HOUR, fired=before).fire == ()


def test_the_moment_that_was_due_fires_though_the_rule_has_changed_since() -> None:
    turn = take_turn(schedule("all", Cron("0 4 * * *")), THREE, THREE + 2 * HOUR)
    assert turn.fire == (THREE, THREE + HOUR)


@settings(max_examples=50, deadline=None)
@given(
    seconds=st.integers(0, 86_400), number=st.integers(0, 10_000), name=st.sampled_from(["a", "b"])
)
def test_jitter_is_within_its_bounds_and_the_same_for_all_who_ask(
    seconds: int, number: int, name: str
) -> None:
    made = Schedule(NIGHTLY, jitter=timedelta(seconds=seconds))
    moment = THREE + number * HOUR
    assert timedelta(0) <= made.delay(name, moment) <= made.jitter
    assert made.delay(name, moment) == made.delay(name, moment)


def test_jitter_spreads_schedules_and_moments_apart() -> None:
    made = Schedule(NIGHTLY, jitter=HOUR)
    delays = sorted(made.delay(f"shop-{n}", THREE) for n in range(200))
    assert len(set(delays)) == 200
    assert delays[0] < MINUTE * 3
    assert delays[-1] > HOUR - MINUTE * 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rule": "0 3 * * *"}, "takes Cron.* not '0 3"),
        ({"catch_up": "some"}, "catch_up is one of skip, once, all, not 'some'"),
        ({"overlap": "queue"}, "overlap is one of skip, allow, not 'queue'"),
        ({"catch_up_limit": 0}, "catch_up_limit is 1 to 1,000, not 0"),
        ({"catch_up_limit": 1001, "overlap": "allow"}, "not 1001"),
        ({"jitter": timedelta(seconds=-1)}, "jitter is none to 1 day"),
        ({"jitter": 2 * DAY}, "jitter is none to 1 day"),
        ({"catch_up": "all"}, "needs overlap 'allow'"),
        ({"priority": -1}, "priority is 0 to"),
        ({"queue": ""}, "cannot name a queue"),
        ({"queue": "a/b"}, "cannot name a queue"),
    ],
)
def test_a_wrong_option_says_what_was_given_and_what_is_taken(options, said: str) -> None:
    with pytest.raises(ScheduleInvalid, match=said):
        Schedule(**{"rule": NIGHTLY, **options})


@dataclass(frozen=True)
class Shop:
    name: str


@dataclass(frozen=True)
class Limits:
    most: int = 5


def test_a_definition_takes_a_rule_or_a_schedule_and_checks_its_args() -> None:
    @job("nightly", schedule=Cron("0 3 * * *", timezone="Europe/Berlin"))
    async def nightly(ctx: JobContext[None], args: Limits) -> None: ...

    assert nightly.schedule == Schedule(Cron("0 3 * * *", "Europe/Berlin"))

    @job("of-acme", schedule=Schedule(Every(minutes=5), args=Shop("acme"), jitter=MINUTE))
    async def of_acme(ctx: JobContext[None], args: Shop) -> None: ...


def test_a_schedule_whose_args_do_not_fit_is_an_error_at_import() -> None:
    with pytest.raises(DefinitionInvalid, match=r"of-acme: its schedule: .*give Schedule\(.*args="):

        @job("of-acme", schedule=Every(minutes=5))
        async def without(ctx: JobContext[None], args: Shop) -> None: ...

    with pytest.raises(DefinitionInvalid, match="its schedule: args of of-acme must be Shop, not"):

        @job("of-acme", schedule=Schedule(Every(minutes=5), args=Limits()))
        async def wrong(ctx: JobContext[None], args: Shop) -> None: ...
