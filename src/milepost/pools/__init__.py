"""Where handlers run."""

from milepost.pools.attempt import Attempt, Equipment, Surroundings
from milepost.pools.coroutine import CoroutinePool
from milepost.pools.frames import Whereabouts
from milepost.pools.notes import Notes
from milepost.pools.pool import UNBOUNDED, Blocked, OnDone, Pool
from milepost.pools.process import CompleteServices, Origin, ProcessPool, origin_of
from milepost.pools.thread import ThreadPool

__all__ = [
    "UNBOUNDED",
    "Attempt",
    "Blocked",
    "CompleteServices",
    "CoroutinePool",
    "Equipment",
    "Notes",
    "OnDone",
    "Origin",
    "Pool",
    "ProcessPool",
    "Surroundings",
    "ThreadPool",
    "Whereabouts",
    "origin_of",
]
