"""When a schedule fires: a cron expression in a time zone, or an interval. No I/O, no clock."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from milepost.errors import ScheduleInvalid
from milepost.jobs.backoff import LONGEST_WAIT

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
LONGEST_EXPRESSION: Final = 200
FIELDS: Final = (
    "five fields: minute (0-59), hour (0-23), day of month (1-31, L), month (1-12, JAN-DEC), "
    "day of week (0-7, SUN-SAT), such as '0 3 * * *'"
)
_SOME_DAY: Final = datetime(2000, 1, 1)  # noqa: DTZ001 (what a clock on a wall shows has no zone)


@dataclass(frozen=True, slots=True)
class Cron:
    """Moments by the clock on a wall: `Cron("0 3 * * *", timezone="Europe/Berlin")`.

    The expression is Debian's: minute, hour, day of month, month, day of week; where neither day
    field begins with `*`, either of them suffices. So are the days when clocks change. Where
    minute and hour are both given, what falls into the hour that does not exist fires at its end,
    and what falls into the hour that comes twice fires in the first one. Where either begins with
    `*`, it fires whenever the clock shows such a time: not in the first, twice in the second.

    Raises ScheduleInvalid.
    """

    expression: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        parts = self.expression.split()
        # What it means, however it was spaced.
        object.__setattr__(self, "expression", " ".join(parts))
        if len(parts) != 5 or len(self.expression) > LONGEST_EXPRESSION:  # noqa: PLR2004
            raise ScheduleInvalid(f"cron expression {self.expression[:300]!r}: it takes {FIELDS}")
        try:
            first = next(self._walls(_SOME_DAY), None)
        except CronSimError as error:
            why = str(error).lower()
            raise ScheduleInvalid(
                f"cron expression {self.expression!r}: {why}; it takes {FIELDS}"
            ) from None
        if first is None:
            raise ScheduleInvalid(f"cron expression {self.expression!r} fits no day of any year")
        find_zone(self.timezone)

    def __str__(self) -> str:
        return f"{self.expression} ({self.timezone})"

    def next_after(self, moment: datetime) -> datetime:
        """Say when it fires next, strictly after an aware moment; in UTC."""
        zone = find_zone(self.timezone)
        # Two moments of one zone are compared by their times on the wall.
        moment = moment.astimezone(UTC)
        return self._once_after(moment, zone) if self._is_fixed else self._real_after(moment, zone)

    @property
    def _is_fixed(self) -> bool:
        minute, hour, *_ = self.expression.split()
        return not minute.startswith("*") and not hour.startswith("*")

    def _walls(self, after: datetime) -> Iterator[datetime]:
        """What the clock shows when it fires. Zones are ours: cronsim steps over some changes."""
        return iter(CronSim(self.expression, after))

    def _once_after(self, moment: datetime, zone: ZoneInfo) -> datetime:
        """Each time on the wall has one moment, whatever the clock does."""
        for wall in self._walls(_wall(moment, zone)):
            fires_at = _moment(wall, zone) or _end_of_gap(wall, zone)
            if fires_at > moment:
                return fires_at
        raise AssertionError("checked when it was made: some day fits")

    def _real_after(self, moment: datetime, zone: ZoneInfo) -> datetime:
        """Each moment whose time on the wall fits: none or two of a time are possible."""
        begin = _wall(moment, zone)
        again = _moment(begin, zone, fold=1)
        if again is not None and again > moment:
            # The clock will show this time once more. First what is left of the first pass …
            wall, width = next(self._walls(begin)), again - moment
            first = _moment(wall, zone)
            if first is not None and first != _moment(wall, zone, fold=1) and wall < begin + width:
                return first
            # … then the second one, from its beginning.
            begin -= width
        for wall in self._walls(begin):
            for fold in (0, 1):
                fires_at = _moment(wall, zone, fold=fold)
                if fires_at is not None and fires_at > moment:
                    return fires_at
        raise AssertionError("checked when it was made: some day fits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """Moments so far apart, counted from 1970-01-01 00:00 UTC: `Every(minutes=5)`.

    So all who know the rule know its moments: `Every(hours=6)` is 0, 6, 12 and 18 o'clock UTC. At
    least a second. Raises ScheduleInvalid.
    """

    days: float = 0
    hours: float = 0
    minutes: float = 0
    seconds: float = 0

    def __post_init__(self) -> None:
        try:
            interval = self.interval
        except (OverflowError, ValueError):
            interval = timedelta.max
        if not SECOND <= interval <= LONGEST_WAIT:
            raise ScheduleInvalid(
                f"{self!r}: an interval is at least a second and at most {LONGEST_WAIT.days} days"
            )

    def __str__(self) -> str:
        return f"every {self.interval}"

    @property
    def interval(self) -> timedelta:
        """How far two moments are apart."""
        return timedelta(
            days=self.days, hours=self.hours, minutes=self.minutes, seconds=self.seconds
        )

    @property
    def timezone(self) -> str:
        """The zone to show its moments in."""
        return "UTC"

    def next_after(self, moment: datetime) -> datetime:
        """Say when it fires next, strictly after an aware moment; in UTC."""
        passed = (moment - EPOCH) // self.interval
        return EPOCH + (passed + 1) * self.interval


Rule = Cron | Every
"""When a schedule fires."""


def moments(rule: Rule, after: datetime, until: datetime) -> Iterator[datetime]:
    """Give the moments of a rule later than `after` and not later than `until`, in order."""
    moment = rule.next_after(after)
    while moment <= until:
        yield moment
        moment = rule.next_after(moment)


def newest(rule: Rule, after: datetime, until: datetime, *, limit: int) -> list[datetime]:
    """Give the last of those moments, in order, without walking through all before them."""
    span = timedelta(minutes=1)
    while True:
        begin = max(after, until - span)
        found = list(moments(rule, begin, until))
        if begin == after or len(found) >= limit:
            return found[-limit:]
        span *= 4


def find_zone(name: str) -> ZoneInfo:
    """Find a time zone by its IANA name. Raises ScheduleInvalid."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # A folder of zones is an OSError, a path that leads out of them a ValueError.
        raise ScheduleInvalid(
            f"no time zone {name[:100]!r}: it takes an IANA name such as Europe/Berlin or UTC"
        ) from None


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    """What the clock shows."""
    return moment.astimezone(zone).replace(tzinfo=None)


def _moment(wall: datetime, zone: ZoneInfo, *, fold: int = 0) -> datetime | None:
    """When the clock shows that, for the first or the second time; None where it never does."""
    moment = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    return moment if _wall(moment, zone) == wall else None


def _end_of_gap(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first moment after the clock was put forward over that time."""
    # By PEP 495 these lie on either side of the change.
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    after = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    offset = after.astimezone(zone).utcoffset()
    while after - before > SECOND:
        middle = before + (after - before) // SECOND // 2 * SECOND
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after
