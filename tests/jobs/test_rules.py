"""When schedules fire, also on the days when clocks change. What is expected is written by hand."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from milepost.errors import ScheduleInvalid
from milepost.jobs.rules import Cron, Every, Rule, moments, newest

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
# The clock goes forward at midnight there: a day without a beginning.
SANTIAGO = "America/Santiago"
# A whole day was left out, the 30th of December 2011.
APIA = "Pacific/Apia"
DAY = timedelta(days=1)


def shown(rule: Cron, begin: str, end: str) -> list[str]:
    """What the clock shows at the moments from the one to the other, with the offset of its zone."""
    zone = ZoneInfo(rule.timezone)
    after, until = (datetime.fromisoformat(text).replace(tzinfo=zone) for text in (begin, end))
    found = moments(rule, after, until)
    return [moment.astimezone(zone).strftime("%d %H:%M %z") for moment in found]


@pytest.mark.parametrize(
    ("expression", "timezone", "begin", "end", "expected"),
    [
        # Spring: 02:30 does not exist. A given time fires at the end of the gap …
        ("30 2 * * *", BERLIN, "2026-03-28", "2026-03-31",
         ["28 02:30 +0100", "29 03:00 +0200", "30 02:30 +0200"]),
        ("30 2 * * *", NEW_YORK, "2026-03-07", "2026-03-10",
         ["07 02:30 -0500", "08 03:00 -0400", "09 02:30 -0400"]),
        ("15 2 * * *", LORD_HOWE, "2026-10-03", "2026-10-06",
         ["03 02:15 +1030", "04 02:30 +1100", "05 02:15 +1100"]),
        # … once, however many fall into it …
        ("0,30 2,3 * * *", BERLIN, "2026-03-29", "2026-03-30",
         ["29 03:00 +0200", "29 03:30 +0200"]),
        # … and what is said of every hour skips the one that is none.
        ("0 * * * *", BERLIN, "2026-03-29T00:30", "2026-03-29T04:30",
         ["29 01:00 +0100", "29 03:00 +0200", "29 04:00 +0200"]),
        ("*/20 * * * *", LORD_HOWE, "2026-10-04T01:30", "2026-10-04T02:50",
         ["04 01:40 +1030", "04 02:40 +1100"]),
        ("*/30 0 * * *", SANTIAGO, "2026-09-05T12:00", "2026-09-07T12:00",
         ["07 00:00 -0300", "07 00:30 -0300"]),
        ("0 0 * * *", SANTIAGO, "2026-09-05T12:00", "2026-09-07T12:00",
         ["06 01:00 -0300", "07 00:00 -0300"]),
        ("*/30 1 * * *", SANTIAGO, "2026-09-05T12:00", "2026-09-06T12:00",
         ["06 01:00 -0300", "06 01:30 -0300"]),
        # Autumn: 02:30 comes twice. A given time fires in the first one …
        ("30 2 * * *", BERLIN, "2026-10-24", "2026-10-27",
         ["24 02:30 +0200", "25 02:30 +0200", "26 02:30 +0100"]),
        ("30 1 * * *", NEW_YORK, "2026-10-31", "2026-11-03",
         ["31 01:30 -0400", "01 01:30 -0400", "02 01:30 -0500"]),
        # … and what is said of every hour fires in both.
        ("30 * * * *", BERLIN, "2026-10-25T01:00", "2026-10-25T04:00",
         ["25 01:30 +0200", "25 02:30 +0200", "25 02:30 +0100", "25 03:30 +0100"]),
        ("*/20 1 * * *", NEW_YORK, "2026-11-01", "2026-11-01T12:00",
         ["01 01:00 -0400", "01 01:20 -0400", "01 01:40 -0400",
          "01 01:00 -0500", "01 01:20 -0500", "01 01:40 -0500"]),
        ("*/15 * * * *", LORD_HOWE, "2026-04-05T01:15", "2026-04-05T02:00",
         ["05 01:30 +1100", "05 01:45 +1100", "05 01:30 +1030", "05 01:45 +1030",
          "05 02:00 +1030"]),
        ("*/15 5 * * *", LORD_HOWE, "2026-04-05", "2026-04-05T12:00",
         ["05 05:00 +1030", "05 05:15 +1030", "05 05:30 +1030", "05 05:45 +1030"]),
        # Of the last Sunday of October alone: the second pass is this year's, not the next one's.
        ("*/40 2 * 10 0L", BERLIN, "2026-10-25", "2026-10-26",
         ["25 02:00 +0200", "25 02:40 +0200", "25 02:00 +0100", "25 02:40 +0100"]),
        # A day that never was.
        ("0 12 * * *", APIA, "2011-12-29", "2012-01-01",
         ["29 12:00 -1000", "31 00:00 +1400", "31 12:00 +1400"]),
        ("0 */12 * * *", APIA, "2011-12-29", "2012-01-01",
         ["29 12:00 -1000", "31 00:00 +1400", "31 12:00 +1400", "01 00:00 +1400"]),
        # No change of clocks at all.
        ("0 3 * * 1-5", "UTC", "2026-05-01", "2026-05-05",
         ["01 03:00 +0000", "04 03:00 +0000"]),
        ("0 0 13 * FRI", "UTC", "2026-02-01", "2026-02-21",
         ["06 00:00 +0000", "13 00:00 +0000", "20 00:00 +0000"]),
        ("0 6 L * *", "UTC", "2028-02-01", "2028-03-01", ["29 06:00 +0000"]),
    ],
)  # fmt: skip
def test_cron_fires_as_debians_on_the_days_when_clocks_change(
    expression: str, timezone: str, begin: str, end: str, expected: list[str]
) -> None:
    assert shown(Cron(expression, timezone), begin, end) == expected


def test_from_within_the_hour_that_comes_twice_nothing_fires_again() -> None:
    zone = ZoneInfo(BERLIN)
    second = datetime(2026, 10, 25, 2, 15, tzinfo=zone, fold=1)
    fixed, hourly = Cron("30 2 * * *", BERLIN), Cron("30 * * * *", BERLIN)
    assert fixed.next_after(second) == datetime(2026, 10, 26, 2, 30, tzinfo=zone)
    assert hourly.next_after(second) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_an_interval_is_counted_from_1970() -> None:
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert Every(hours=6).next_after(noon) == noon + timedelta(hours=6)
    assert Every(minutes=5).next_after(noon + timedelta(seconds=1)) == noon + timedelta(minutes=5)
    assert Every(seconds=1.5).interval == timedelta(seconds=1.5)
    in_berlin = noon.astimezone(ZoneInfo(BERLIN))
    assert Every(days=1).next_after(in_berlin) == datetime(2026, 5, 2, tzinfo=UTC)


ZONES = st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, SANTIAGO, APIA, "Africa/Casablanca", "UTC"])
MINUTES = st.sampled_from(["*", "*/7", "0", "30", "15,45", "5-50/20"])
HOURS = st.sampled_from(["*", "*/2", "0", "1", "2", "1-3", "0,1,2,3,23"])
DAYS = st.sampled_from(["* * *", "* * 0", "* 3,10 *", "*/2 * *", "1,L * 0"])
RULES: st.SearchStrategy[Rule] = st.one_of(
    st.builds(lambda m, h, d, z: Cron(f"{m} {h} {d}", z), MINUTES, HOURS, DAYS, ZONES),
    st.builds(lambda s: Every(seconds=s), st.integers(400, 40_000)),
)
# Around the changes, where it is hard, and anywhere.
CHANGES = [
    datetime(*day, tzinfo=UTC)
    for day in (
        (2026, 3, 29), (2026, 10, 25), (2026, 3, 8), (2026, 11, 1), (2026, 4, 4), (2026, 10, 3),
        (2026, 9, 6), (2026, 4, 5), (2011, 12, 30), (2026, 2, 15), (2026, 3, 22),
    )
]  # fmt: skip
SECONDS = st.integers(-40_000, 86_400)


@settings(max_examples=80, deadline=None)
@given(rule=RULES, day=st.sampled_from(CHANGES), seconds=st.tuples(SECONDS, SECONDS, SECONDS))
def test_what_fires_is_the_same_wherever_one_begins_to_look(
    rule: Rule, day: datetime, seconds: tuple[int, int, int]
) -> None:
    a, b, c = (day + timedelta(seconds=each) for each in sorted(seconds))
    whole = list(moments(rule, a, c))
    assert whole == [*moments(rule, a, b), *moments(rule, b, c)]
    assert whole == sorted(set(whole))
    assert all(a < moment <= c for moment in whole)
    assert newest(rule, a, c, limit=3) == whole[-3:]


@settings(max_examples=40, deadline=None)
@given(minute=MINUTES, hour=HOURS, zone=ZONES, day=st.sampled_from(CHANGES), seconds=SECONDS)
def test_with_a_star_exactly_those_moments_fire_whose_time_on_the_wall_fits(
    minute: str, hour: str, zone: str, day: datetime, seconds: int
) -> None:
    assume("*" in (minute[0], hour[0]))
    at = Cron(f"{minute} {hour} * * *", zone)
    by_clock = {
        (wall.hour, wall.minute)
        for wall in moments(Cron(f"{minute} {hour} * * *"), CHANGES[0], CHANGES[0] + DAY)
    }
    begin = (day + timedelta(seconds=seconds)).replace(second=0)
    every_minute = (begin + timedelta(minutes=n) for n in range(1, 12 * 60 + 1))
    expected = [
        moment
        for moment in every_minute
        if ((wall := moment.astimezone(ZoneInfo(zone))).hour, wall.minute) in by_clock
    ]
    assert list(moments(at, begin, begin + timedelta(hours=12))) == expected


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Cron("61 * * * *"), "cron expression '61 .* bad minute; it takes five fields: mi"),
        (lambda: Cron("0 3 * *"), "cron expression '0 3 .*: it takes five fields"),
        (lambda: Cron("0 0 3 * * *"), "it takes five fields"),
        (lambda: Cron("@daily"), "it takes five fields.*such as '0 3"),
        (lambda: Cron("0 0 30 2 *"), "bad day-of-month"),
        (lambda: Cron("* * */20 * 1L"), "fits no day of any year"),
        (lambda: Cron("9" * 5000 + " * * * *"), "it takes five fields"),
        (lambda: Cron("0 3 * * *", timezone="Berlin"), "no time zone 'Berlin': .*Europe/Berlin"),
        (lambda: Cron("0 3 * * *", timezone="Europe"), "no time zone 'Europe'"),
        (lambda: Cron("0 3 * * *", timezone="../../etc/passwd"), "no time zone"),
        (Every, "at least a second"),
        (lambda: Every(seconds=0.5), "seconds=0.5.* at least a second"),
        (lambda: Every(minutes=-1), "at least a second"),
        (lambda: Every(days=1e300), "at most 36500 days"),
        (lambda: Every(days=float("nan")), "at least a second"),
    ],
)
def test_a_wrong_rule_says_what_was_given_and_what_is_taken(make, said: str) -> None:
    with pytest.raises(ScheduleInvalid, match=said):
        make()


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="0123456789*/,-LW#SUNJA ?²", max_size=25))
def test_whatever_is_typed_is_a_rule_or_a_clear_error(text: str) -> None:
    try:
        rule = Cron(text)
    except ScheduleInvalid:
        return
    assert rule.next_after(CHANGES[0]) > CHANGES[0]
