"""Processes that each submit one job and are killed between its commit and its sending.

`python -m tests.chaos.submitter COUNT`; the store and Redis are those of the environment.
"""

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable
from typing import Any

from milepost.brokers.bullmq.broker import BullmqBroker
from milepost.redis import Link
from tests.chaos.app import Naps, milepost, nap


def die_after(call: Callable[..., Any], passes: int) -> Callable[..., Any]:
    """Make the process die at a call, after so many that pass."""
    left = [passes]

    def dying(*args: Any, **kwargs: Any) -> Any:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return call(*args, **kwargs)

    return dying


async def submit_and_die(moment: int) -> None:
    await milepost.ready()
    match moment:
        case 0:  # committed, and nothing else
            BullmqBroker.send = die_after(BullmqBroker.send, 0)  # type: ignore[method-assign]
        case 1:  # about to look into Redis
            Link.round_trip = die_after(Link.round_trip, 0)  # type: ignore[method-assign]
        case _:  # between looking and adding
            Link.round_trip = die_after(Link.round_trip, 1)  # type: ignore[method-assign]
    await milepost.submit(nap, Naps(0))


def main(count: int) -> None:
    for _ in range(count):
        child = os.fork()
        if child == 0:
            asyncio.run(submit_and_die(random.randrange(3)))
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), f"a submitter lived: {status}"


if __name__ == "__main__":
    main(int(sys.argv[1]))
