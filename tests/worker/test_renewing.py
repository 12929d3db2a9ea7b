"""Promise 7: nothing delays the renewals but the database itself."""

import asyncio
import threading
from datetime import timedelta

import pytest
from sqlalchemy import Connection

from milepost import JobContext, JobHandle, job
from milepost.jobs.events import AttemptStarted, LeaseWasLost
from tests.worker.apps import OpenApp
from tests.worker.waiting import SOON, eventually

LEASE = timedelta(seconds=1)


@job("waits")
async def waits(ctx: JobContext[None], args: None) -> None:
    while not ctx.stopping:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("busy", ["callers", "other roles"])
async def test_promise_7_renewals_wait_for_nobody_else(open_app: OpenApp, busy: str) -> None:
    go_on = threading.Event()

    def hold(_: Connection) -> None:
        go_on.wait(SOON.total_seconds())

    app, onlooker = await open_app(waits, lease_for=LEASE), await open_app(waits)
    async with app.worker() as worker:
        handle: JobHandle[None] = onlooker.handle((await app.submit(waits, None)).job_id)
        await eventually(lambda: app.happened(AttemptStarted))
        held = (await handle.view()).lease_expires_at
        assert held is not None
        database = app.database if busy == "callers" else worker._database
        held_up = [asyncio.create_task(database.query(hold)) for _ in range(20)]

        async def is_renewed() -> bool:
            expires_at = (await handle.view()).lease_expires_at
            return expires_at is not None and expires_at > held + 2 * LEASE

        try:
            await eventually(is_renewed)
        finally:
            go_on.set()
            await asyncio.gather(*held_up)
        assert not app.happened(LeaseWasLost)
