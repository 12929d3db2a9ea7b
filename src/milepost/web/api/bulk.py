"""Many jobs at once over HTTP."""

from collections.abc import Sequence

from fastapi import APIRouter
from pydantic import BaseModel

from milepost import bulk
from milepost.access import Caller
from milepost.jobs.states import JobState
from milepost.store.filters import JobFilter
from milepost.web.api.fields import Body, Name, Reason
from milepost.web.dependencies import App
from milepost.web.guard import Operator
from milepost.web.problems import Refused, documented

router = APIRouter(tags=["jobs"], responses=documented(401, 403, 422, 503))


class Meant(Body):
    """Which jobs are meant: all that fit everything that is given."""

    states: Sequence[JobState] = ()
    kind: Name | None = None
    queue: Name | None = None
    owner: Name | None = None
    tag: Name | None = None
    search: Name | None = None


class BulkOrder(Body):
    """What to do with all jobs that fit `meant`, at most 100,000 at once."""

    meant: Meant
    reason: Reason | None = None
    dry_run: bool = False


class BulkDone(BaseModel):
    """How many jobs were meant and how many changed; `more`: the same call goes on."""

    meant: int
    changed: int
    more: bool


@router.post("/jobs/cancel")
async def cancel_all(order: BulkOrder, milepost: App, caller: Operator) -> BulkDone:
    """Ask all jobs that fit to stop, without waiting for them."""
    meant = _meant(order.meant, caller)
    done = await bulk.cancel(milepost, meant, reason=order.reason, dry_run=order.dry_run)
    return BulkDone(meant=done.meant, changed=done.changed, more=done.more)


@router.post("/jobs/retry")
async def retry_all(order: BulkOrder, milepost: App, caller: Operator) -> BulkDone:
    """Send all failed and cancelled jobs that fit back to available."""
    done = await bulk.retry(milepost, _meant(order.meant, caller), dry_run=order.dry_run)
    return BulkDone(meant=done.meant, changed=done.changed, more=done.more)


def _meant(meant: Meant, caller: Caller) -> JobFilter:
    if caller.owner is not None and meant.owner not in (None, caller.owner):
        raise Refused(403, "Not allowed", f"{caller.name!r} steers jobs of {caller.owner!r} alone")
    chosen = JobFilter(
        states=meant.states, kind=meant.kind, queue=meant.queue, owner=meant.owner, tag=meant.tag,
        search=meant.search,
    )  # fmt: skip
    return chosen.of_owner(caller.owner)
