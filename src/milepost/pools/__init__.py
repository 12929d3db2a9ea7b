"""Where handlers run."""

from milepost.pools.attempt import Attempt, Surroundings
from milepost.pools.coroutine import CoroutinePool
from milepost.pools.notes import Notes
from milepost.pools.pool import Blocked, OnDone, Pool
from milepost.pools.thread import ThreadPool

__all__ = [
    "Attempt",
    "Blocked",
    "CoroutinePool",
    "Notes",
    "OnDone",
    "Pool",
    "Surroundings",
    "ThreadPool",
]
