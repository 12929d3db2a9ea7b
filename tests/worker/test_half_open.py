"""A network that swallows packets: no end of a connection learns that the other is out of reach."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy.engine import make_url

from milepost import JobContext, job
from milepost.jobs.events import AttemptStarted, LeaseWasLost
from tests.proxy import Proxy, proxy
from tests.servers import PostgresServer
from tests.worker.apps import App
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
def network(postgres: PostgresServer) -> Iterator[Proxy]:
    """A network between a worker and its database."""
    with proxy(postgres.port) as made:
        yield made


@pytest.fixture
def near_url(network: Proxy, postgres_store_url: str) -> str:
    """The store's URL, by way of that network."""
    url = make_url(postgres_store_url).set(host="127.0.0.1", port=network.port)
    return url.render_as_string(hide_password=False)


async def test_promise_2_an_attempt_whose_renewals_are_not_answered_is_stopped(
    network: Proxy, near_url: str
) -> None:
    async with App([waits_for_a_stop], near_url, lease_for=LEASE) as app, app.worker():
        await app.submit(waits_for_a_stop, None)
        await eventually(lambda: app.happened(AttemptStarted))
        network.swallow()
        [lost] = await eventually(lambda: app.happened(LeaseWasLost))
        network.pass_on()
        assert "could not be reached" in lost.how


async def test_promise_1_a_worker_goes_on_when_the_network_is_back(
    network: Proxy, near_url: str, postgres_store_url: str
) -> None:
    near = App([answers, waits_for_a_stop], near_url, lease_for=LEASE)
    far = App([answers], postgres_store_url)
    async with near, far, near.worker():
        await near.submit(waits_for_a_stop, None)
        await eventually(lambda: near.happened(AttemptStarted))
        network.swallow()
        await eventually(lambda: near.happened(LeaseWasLost))
        network.pass_on()
        # Those connections stay dead, and nobody tells.
        handle = await far.submit(answers, 7)
        assert await handle.result(SOON) == 7


async def test_a_worker_stops_although_nothing_answers(network: Proxy, near_url: str) -> None:
    async with App([waits_for_a_stop], near_url, lease_for=LEASE) as app:
        worker = app.worker()
        await worker.start()
        await app.submit(waits_for_a_stop, None)
        await eventually(lambda: app.happened(AttemptStarted))
        network.swallow()
        await asyncio.wait_for(worker.stop(), 4 * SOON.total_seconds())
        network.pass_on()
