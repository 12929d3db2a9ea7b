"""Which kinds are run by Milepost's workers, here or in another program."""

from collections.abc import Iterable

from milepost.jobs.registry import Registry
from milepost.store import workers
from milepost.store.database import Database


class OurKinds:
    """Tells our kinds from those that may be another program's, which move their own entries."""

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self._here = frozenset(registry.kinds)
        self._elsewhere = frozenset(registry.elsewhere)

    def among(self, kinds: Iterable[str]) -> frozenset[str]:
        """Those of these kinds that run here, or in a Milepost worker that has not ended."""
        asked = frozenset(kinds)
        ours = asked & self._here
        unknown = asked - ours - self._elsewhere
        if not unknown:
            return ours
        with self._database.read() as conn:
            running = {kind for each in workers.unstopped(conn) for kind in each.kinds}
        return ours | (unknown & running)
