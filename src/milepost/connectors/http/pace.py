"""Asks no faster than the source allows: by its budget, by what its replies say, by refusals."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from milepost.connectors.budgets import Budgets
from milepost.connectors.connector import OnWait, Sleep
from milepost.connectors.http.replies import retry_after
from milepost.connectors.http.source import Budget
from milepost.errors import RetryableConnectorError

# Where a source has no budget and refuses: so long between two requests, at first and at most.
FIRST_GAP: Final = 0.1
LONGEST_GAP: Final = 5.0
# After so many good replies in a row it is tried a little faster again.
GOOD_ENOUGH: Final = 20
FASTER: Final = 0.8
NO_GAP: Final = 0.01
# No reply makes us wait longer than this without telling the job, which can then go elsewhere.
LONGEST_HOLD: Final = 60.0
TOO_MANY: Final = 429
WORTH_SAYING: Final = 5.0


class Pace:
    """The turns of one connector; the budget behind them is shared by all that have its key."""

    def __init__(
        self,
        budgets: Budgets,
        key: str,
        budget: Budget | None,
        *,
        sleep: Sleep,
        on_wait: OnWait | None,
        wait_at_most: timedelta,
    ) -> None:
        self._on_wait = on_wait
        self._wait_at_most = wait_at_most
        self._budgets = budgets
        self._key = key
        self._sleep = sleep
        self._every = 0.0 if budget is None else budget.per.total_seconds() / budget.requests
        self._burst = 1 if budget is None else budget.burst
        self._gap = 0.0
        self._good = 0
        self.seen: str | None = None
        """What the source says of its limit, in words."""

    async def turn(self) -> None:
        """Wait for this request's turn.

        Raises RetryableConnectorError where that is so far off that the job had better go
        elsewhere meanwhile.
        """
        every = max(self._every, self._gap)
        if not every:
            return
        burst = self._burst if every == self._every else 1
        wait = await self._budgets.reserve(self._key, every=every, burst=burst)
        if wait > self._wait_at_most.total_seconds():
            raise RetryableConnectorError(
                f"the next request of these credentials has its turn in {wait:.0f} s",
                retry_after=timedelta(seconds=wait),
            )
        if wait > WORTH_SAYING and self._on_wait is not None:
            self._on_wait("the budget of these credentials is used up", timedelta(seconds=wait))
        if wait > 0:
            await self._sleep(wait)

    async def heed(self, status: int, headers: Mapping[str, str]) -> None:
        """Learn from a reply."""
        left, reset = _limit(headers)
        if left is not None:
            self.seen = f"{left} requests left" + ("" if reset is None else f" for {reset:.0f} s")
        if status == TOO_MANY:
            self._good = 0
            self._gap = min(max(self._gap * 2, FIRST_GAP), LONGEST_GAP)
            after = retry_after(headers)
            if after is not None:
                await self._budgets.hold(self._key, min(after.total_seconds(), LONGEST_HOLD))
            return
        self._good += 1
        if self._gap and self._good % GOOD_ENOUGH == 0:
            self._gap *= FASTER
            if self._gap < NO_GAP:
                self._gap = 0.0
        if left == 0 and reset is not None:
            # Whoever asks next would be refused.
            await self._budgets.hold(self._key, min(reset, LONGEST_HOLD))


def _limit(headers: Mapping[str, str]) -> tuple[int | None, float | None]:
    """Read how many requests are left, and for how many seconds.

    RateLimit of the IETF's draft (`"default";r=50;t=30`), or the older headers of three names.
    """
    structured = headers.get("RateLimit", "")
    left, reset = (
        re.search(r";\s*r=(\d{1,9})", structured),
        re.search(r";\s*t=(\d{1,9})", structured),
    )
    if left:
        return int(left[1]), float(reset[1]) if reset else None
    for prefix in ("RateLimit", "X-RateLimit"):
        remaining = headers.get(f"{prefix}-Remaining", "").strip()
        if remaining.isdecimal():
            after = retry_after({**headers, f"{prefix}-Remaining": "0"})
            return int(remaining), None if after is None else after.total_seconds()
    return None, None
