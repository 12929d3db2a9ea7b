"""Who is next, as a model: any lanes, any limits, any clock."""

from collections import Counter
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from milepost import Concurrency, Rate
from milepost.jobs.limits import HeldLimit, Lane, Steering, read_lane
from milepost.jobs.turns import Room, Starts, Waiting, choose

SECOND = timedelta(seconds=1)
TIMES = st.lists(st.floats(0, 3, allow_nan=False), max_size=200)


@given(steps=TIMES, most=st.integers(1, 7), per=st.sampled_from([0.5, 1.0, 60.0]))
def test_no_stretch_of_time_has_more_starts_than_may_be(
    steps: list[float], most: int, per: float
) -> None:
    limit, starts, now = HeldLimit("k", most, per), Starts(), 1_000_000.0
    begun: list[float] = []
    for step in steps:
        now += step * per / 3
        room = starts.room(limit, now)
        if room <= 0:
            opens_at = starts.room_at(limit, now)
            assert now < opens_at <= now + per * 1.02
            assert starts.room(limit, opens_at) > 0
            continue
        starts.add(limit, now, 1)
        begun.append(now)
        assert sum(at > now - per for at in begun) <= most
        # Few facts, whatever the rate.
        assert len(starts.at) <= 102


def test_a_rate_is_used_up_to_a_hundredth() -> None:
    limit, starts, now, begun = HeldLimit("k", 10, 1.0), Starts(), 1_000_000.003, 0
    while now < 1_000_100:
        if (room := starts.room(limit, now)) > 0:
            starts.add(limit, now, room)
            begun += room
        now = max(now + 1e-4, starts.room_at(limit, now))
    assert 0.98 * 1000 <= begun <= 1010


def test_a_clock_that_is_set_back_holds_up_nobody_for_longer_than_the_period() -> None:
    limit, starts = HeldLimit("k", 1, 10.0), Starts()
    starts.add(limit, 5000.0, 1)
    assert starts.room(limit, 1000.0) == 0
    # What was noted in the future counts, and is corrected with the next start.
    wide = HeldLimit("k", 3, 10.0)
    starts.add(wide, 1000.0, 1)
    assert starts.room(wide, 1011.0) == 3


lanes_of = st.dictionaries(
    st.sampled_from("abcdef"),
    st.tuples(
        st.sampled_from([None, "ann", "bob", "cy"]),
        st.lists(st.sampled_from("xyz"), unique=True, max_size=2),
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 99)), min_size=1, max_size=8),
    ),
    max_size=6,
)
MOST = {"x": 1, "y": 2, "z": 3}


@given(spec=lanes_of, running=st.dictionaries(st.sampled_from("xyz"), st.integers(0, 3)),
       most=st.integers(1, 12))  # fmt: skip
def test_what_is_chosen_fits_its_limits_and_leaves_no_room_unused(
    spec: dict[str, tuple[str | None, list[str], list[tuple[int, int]]]],
    running: dict[str, int],
    most: int,
) -> None:
    lanes = [
        Waiting(name, Lane("k", turn, tuple(HeldLimit(key, MOST[key]) for key in keys)),
                sorted((priority, number * 10 + at) for at, (priority, number) in enumerate(jobs)))
        for name, (turn, keys, jobs) in spec.items()
    ]  # fmt: skip
    room = Room(1000.0, Counter(running), {}, {})
    chosen = choose(lanes, room, (), most)
    assert len(chosen.jobs) <= most
    begun = Counter(key for name, _ in chosen.jobs for key in spec[name][1])
    assert all(begun[key] + running.get(key, 0) <= MOST[key] for key in begun)
    left = {each.name: len(each.jobs) for each in lanes}
    for name, _ in chosen.jobs:
        left[name] -= 1
    if len(chosen.jobs) < most:
        for name, (_, keys, _jobs) in spec.items():
            full = any(begun[key] + running.get(key, 0) >= MOST[key] for key in keys)
            assert full or left[name] == 0
    # Within each lane, in order.
    for each in lanes:
        own = [job_id for name, job_id in chosen.jobs if name == each.name]
        assert own == [job_id for _, job_id in each.jobs[: len(own)]]


def test_owners_take_turns_and_the_most_urgent_go_first() -> None:
    def lane(owner: str, *jobs: tuple[int, int]) -> Waiting:
        return Waiting(owner, Lane("k", owner), jobs)

    big = lane("big", *((0, number) for number in range(1, 50)))
    small, urgent = lane("small", (0, 90), (0, 91)), lane("urgent", (-1, 95))
    room = Room(1000.0, Counter(), {}, {"small": 900.0, "big": 800.0})
    order = [name for name, _ in choose([big, small, urgent], room, (), 7).jobs]
    assert order == ["urgent", "big", "small", "big", "small", "big", "big"]


def test_limits_with_one_name_count_together() -> None:
    one = Steering("a", [Concurrency(2, key=str, name="api")], None)
    other = Steering("b", [Concurrency(2, key="owner", name="api"), Concurrency(3)], None)
    rates = [Rate(5, SECOND, name="api"), Rate(90, 60 * SECOND, name="api")]
    keys = [each.key for each in read_lane(Steering("c", rates, None).lane(1, None)).limits]
    assert keys == ["name:api per 1", "name:api per 60"]
    alone = read_lane(other.lane(1, "ann"))
    assert [each.key for each in alone.limits] == ["name:api ann", "b 1"]
    assert alone.shared
    assert read_lane(one.lane("x", None)).limits[0].key == "name:api x"
