"""The client of the API, over real HTTP, through a network that fails."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from milepost.client import ApiAway, ApiError, Client
from milepost.errors import JobFailed, JobWasCancelled, PayloadInvalid
from milepost.store import reading
from milepost.web import Server
from tests.web.conftest import SOON, Order, Service, steps


@pytest.fixture
async def server(working: Service) -> AsyncIterator[Server]:
    async with Server(working.milepost, host="127.0.0.1", port=0) as server:
        yield server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with Client(server.url) as client:
        yield client


async def test_a_job_is_submitted_watched_and_gives_its_typed_result(client: Client) -> None:
    job = await client.submit(
        steps, Order(steps=4), tags=["x"], priority=3, time_limit=timedelta(seconds=60)
    )
    result: str = await job.result(SOON)
    assert result == "done"
    view = await job.view()
    assert (view.state, view.tags, view.priority) == ("completed", ("x",), 3)
    assert view.progress is not None
    assert (view.progress.count, view.args["steps"]) == (4, 4)


async def test_how_a_job_ended_is_raised(client: Client) -> None:
    with pytest.raises(JobFailed, match="broken"):
        await (await client.submit(steps, Order(fail="broken"))).result(SOON)
    waiting = await client.submit(steps, Order(wait=True), unique_key="one")
    again = await client.submit(steps, Order(wait=True), unique_key="one")
    assert (again.job_id, again.existed) == (waiting.job_id, True)
    assert (await waiting.cancel("enough")).told == f"job {waiting.job_id} is cancelled"
    with pytest.raises(JobWasCancelled, match="enough"):
        await waiting.result(SOON)


async def test_what_the_api_refuses_is_said_as_it_says_it(client: Client, working: Service) -> None:
    with pytest.raises(ApiError, match="no job 999") as caught:
        await client.job(999).view()
    assert (caught.value.status, caught.value.title) == (404, "No such job")
    with pytest.raises(ApiError, match="no job 999"):
        await client.job(999).result(SOON)
    with pytest.raises(PayloadInvalid):
        await client.submit(steps, "no order")
    assert await working.milepost.database.query(reading.recent) == []


async def test_a_server_that_comes_back_is_gone_on_with(working: Service) -> None:
    first = Server(working.milepost, host="127.0.0.1", port=0)
    await first.start()
    port = int(first.url.rpartition(":")[2])
    async with Client(first.url) as client:
        job = await client.submit(steps, Order(wait=True))
        states = []
        second = Server(working.milepost, host="127.0.0.1", port=port)
        async for view in job.watch():
            states.append(view.state)
            if view.state == "running" and first is not None:
                await first.stop()
                await second.start()
                first = None  # type: ignore[assignment]
                await job.cancel()
        assert states[-1] == "cancelled"
        await second.stop()


async def test_a_server_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milepost.client.api.WAIT", 0.001)
    async with Client("http://127.0.0.1:9") as client:
        with pytest.raises(ApiAway, match="does not answer"):
            await client.job(1).view()
        with pytest.raises(ApiAway):
            await client.job(1).result(SOON)
