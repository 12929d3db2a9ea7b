"""What a handler says when it puts its job off: refused where it is raised, not where it is stored."""

from datetime import timedelta
from typing import Any

import pytest

from milepost import Snooze

LATER = timedelta(minutes=1)


def test_a_snooze_keeps_its_reason_or_says_when() -> None:
    assert (Snooze(LATER, "closed").reason, str(Snooze(LATER, "closed"))) == ("closed", "closed")
    assert (Snooze(LATER).reason, str(Snooze(LATER))) == (None, "again in 0:01:00")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((LATER, OSError("closed")), "the reason of a Snooze is text, not OSError('closed')"),
        ((60,), "Snooze takes a timedelta, not 60"),
    ],
    ids=["reason", "after"],
)
def test_a_snooze_of_another_type_is_refused(arguments: Any, error: str) -> None:
    with pytest.raises(TypeError) as caught:
        Snooze(*arguments)
    assert str(caught.value) == error
