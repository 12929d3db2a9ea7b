"""Child processes: launched, told, watched, and ended with all that they have started."""

from milepost.pools.process.origins import CompleteServices, Origin, origin_of
from milepost.pools.process.pool import ProcessPool
from milepost.pools.process.trial import try_to_start

__all__ = ["CompleteServices", "Origin", "ProcessPool", "origin_of", "try_to_start"]
