"""All routes of the API, in the order in which its document shows them."""

from typing import Final

from milepost.web.api import (
    bulk,
    connections,
    events,
    jobs,
    overview,
    queues,
    snapshots,
    submitting,
    tokens,
    workers,
)

ROUTERS: Final = (
    submitting.router, jobs.router, bulk.router, events.router, overview.router, queues.router,
    workers.router, connections.router, snapshots.router, tokens.router,
)  # fmt: skip
