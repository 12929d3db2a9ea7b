"""What routes take from the application: the Milepost, a job, a snapshot."""

from typing import Annotated, Any

from fastapi import Depends, Path, Request

from milepost.access import Caller
from milepost.app import Milepost
from milepost.downloads.named import NamedSnapshot
from milepost.errors import ConfigurationError, JobNotFound
from milepost.handles import JobHandle
from milepost.jobs.leases import LARGEST_ID, JobId
from milepost.store import jobs
from milepost.web.problems import Refused

JobNumber = Annotated[int, Path(ge=1, le=LARGEST_ID, description="the job's id")]


def milepost_of(request: Request) -> Milepost:
    """Find the application that this serves."""
    milepost: Milepost = request.app.state.milepost
    return milepost


App = Annotated[Milepost, Depends(milepost_of)]


async def own_job(milepost: Milepost, caller: Caller, job_id: JobId) -> JobHandle[Any]:
    """Take hold of a job that is the caller's to see. Raises JobNotFound."""
    handle: JobHandle[Any] = milepost.handle(job_id)
    if caller.owner is not None and (await handle.view()).owner != caller.owner:
        raise JobNotFound(job_id)
    if caller.owner is None:
        await milepost.database.query(jobs.state_of, job_id)
    return handle


async def snapshot_named(milepost: Milepost, name: str) -> NamedSnapshot:
    """Find a snapshot. Raises Refused where there is none."""
    try:
        return await milepost.snapshots.find(name)
    except ConfigurationError as error:
        raise Refused(404, "No such snapshot", str(error)) from None
