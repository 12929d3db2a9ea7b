"""A network that swallows packets: no end of a connection learns that the other is out of reach."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from milepost import JobContext, job
from milepost.jobs.events import AttemptStarted, LeaseWasLost
from tests.worker.apps import App
from tests.worker.proxy import Proxy
from tests.worker.waiting import SOON, eventually

LEASE = timedelta(seconds=1)


@job("waits-for-a-stop")
async def waits_for_a_stop(ctx: JobContext[None], args: None) -> None:
    while not ctx.cancel.requested:
        await asyncio.sleep(0.01)


@job("answers")
async def answers(ctx: JobContext[None], args: int) -> int:
    return args


@pytest.fixture
async def proxy(postgres_store_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(postgres_store_url).running() as proxy:
        yield proxy


async def test_promise_2_an_attempt_whose_renewals_are_not_answered_is_stopped(
    proxy: Proxy,
) -> None:
    async with App([waits_for_a_stop], proxy.url, lease_for=LEASE) as app, app.worker():
        await app.submit(waits_for_a_stop, None)
        await eventually(lambda: app.happened(AttemptStarted))
        swallowed_at = time.monotonic()
        with proxy.swallowing():
            [lost] = await eventually(lambda: app.happened(LeaseWasLost))
        assert time.monotonic() - swallowed_at < 2 * LEASE.total_seconds()
        assert "could not be reached" in lost.how


async def test_promise_1_a_worker_goes_on_when_the_network_is_back(
    proxy: Proxy, postgres_store_url: str
) -> None:
    near = App([answers, waits_for_a_stop], proxy.url, lease_for=LEASE)
    far = App([answers], postgres_store_url)
    async with near, far, near.worker():
        await near.submit(waits_for_a_stop, None)
        await eventually(lambda: near.happened(AttemptStarted))
        with proxy.swallowing():
            await eventually(lambda: near.happened(LeaseWasLost))
        # Those connections stay dead, and nobody tells.
        handle = await far.submit(answers, 7)
        assert await handle.result(SOON) == 7


async def test_a_worker_stops_although_nothing_answers(proxy: Proxy) -> None:
    async with App([waits_for_a_stop], proxy.url, lease_for=LEASE) as app:
        worker = app.worker()
        await worker.start()
        await app.submit(waits_for_a_stop, None)
        await eventually(lambda: app.happened(AttemptStarted))
        with proxy.swallowing():
            await asyncio.wait_for(worker.stop(), SOON.total_seconds())
