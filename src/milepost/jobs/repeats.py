"""What is submitted again and again for the same thing, and shall not run as often."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from milepost.errors import DefinitionInvalid, PayloadInvalid
from milepost.jobs.backoff import LONGEST_WAIT
from milepost.jobs.limits import LONGEST_KEY, Key, check_key

DEBOUNCED: Final = "d "
THROTTLED: Final = "t "


@dataclass(frozen=True, slots=True)
class Debounce:
    """Run once things have been quiet for `window`, with the newest args.

    A job waits for `window`. Until it begins, submitting again with the same key gives it the new
    args and lets it wait anew. The key is each owner, each value of a function of the args, or,
    with None, the kind as a whole.
    """

    window: timedelta
    key: Key = None


@dataclass(frozen=True, slots=True)
class Throttle:
    """Take at most one job in `period` for each key; submitting again returns that job."""

    period: timedelta
    key: Key = None


@dataclass(frozen=True, slots=True)
class Repeat:
    """What a request has of it: `key` names the thing, `period` is how long a throttle lasts."""

    key: str
    period: timedelta | None = None

    @property
    def debounced(self) -> bool:
        """Whether a request replaces one that has not begun."""
        return self.key.startswith(DEBOUNCED)

    @property
    def name(self) -> str:
        """What such a request is called."""
        return "debounced" if self.debounced else "throttled"


def check_repeat(kind: str, debounce: Debounce | None, throttle: Throttle | None) -> None:
    """Refuse what cannot be. Raises DefinitionInvalid."""
    if debounce is not None and throttle is not None:
        raise DefinitionInvalid(f"{kind}: give debounce or throttle, not both")
    given = debounce or throttle
    if given is None:
        return
    what = type(given).__name__.lower()
    wait = given.window if isinstance(given, Debounce) else given.period
    check_key(kind, what, given.key)
    if not timedelta(0) < wait <= LONGEST_WAIT:
        raise DefinitionInvalid(
            f"{kind}: {what} must be positive and at most {LONGEST_WAIT}, not {wait}"
        )


def repeat_of(
    kind: str,
    debounce: Debounce | None,
    throttle: Throttle | None,
    args: Callable[[], Any],
    owner: str | None,
) -> Repeat | None:
    """Compute what a request has of it. Raises PayloadInvalid where it has no usable key."""
    given = debounce or throttle
    if given is None:
        return None
    if given.key is None:
        value = ""
    elif given.key == "owner":
        value = f" owner {owner or ''}"
    else:
        try:
            value = f" key {given.key(args())}"
        except Exception as error:
            raise PayloadInvalid(
                f"{kind}: the key of {type(given).__name__} cannot be computed from these args: "
                f"{error!r}"
            ) from error
    if len(value) > LONGEST_KEY:
        raise PayloadInvalid(
            f"{kind}: the key of {type(given).__name__} has {len(value)} characters, at most "
            f"{LONGEST_KEY} are taken"
        )
    if isinstance(given, Debounce):
        return Repeat(f"{DEBOUNCED}{kind}{value}")
    return Repeat(f"{THROTTLED}{kind}{value}", given.period)
