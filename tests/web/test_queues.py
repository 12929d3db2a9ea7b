"""Queues over HTTP, whatever they are called."""

from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.parse import quote

import pytest

from milepost.client import ApiError, Client
from milepost.errors import ConfigurationError
from milepost.settings import Settings, WorkerSettings
from milepost.store import limits, pauses, samples
from milepost.store.limits import QueueLimits
from milepost.web import Server
from tests.web.conftest import Order, Service, steps

NAMES = ["größe.1", "Image Processing", "a@b+c&d", "...", "{a}", "history", "a'b\"<i>"]


@pytest.fixture(params=["sqlite"])
def database_url(tmp_path: object) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    server = Server(service.milepost, host="127.0.0.1", port=0)
    async with server, Client(server.url) as client:
        yield client


async def test_a_queue_of_any_name_is_shown_and_steered(service: Service, client: Client) -> None:
    for name in NAMES:
        job = await client.submit(steps, Order(), queue=name)
        await client.pause(name)
        assert await service.milepost.database.query(pauses.paused) == {name}
        await client.resume(name)
        await job.reprioritise(7)
        view = await job.view()
        assert (view.queue, view.priority) == (name, 7)
    shown = (await service.http.get("/queues")).json()
    assert {(each["name"], each["available"]) for each in shown} == {(name, 1) for name in NAMES}
    page = (await service.client().get("http://localhost/queues")).text
    for name in NAMES:
        assert f"queues/{quote(name)}/pause" in page
        told = await service.client().post(f"http://localhost/queues/{quote(name)}/pause")
        assert told.status_code == 303
    assert await service.milepost.database.query(pauses.paused) == set(NAMES)
    assert "<i>" not in page


async def test_a_name_that_no_address_can_say_is_refused_everywhere(
    service: Service, client: Client
) -> None:
    for name in ("a/b", "..", ".", "a%2Fb", "a:b", "a,b", " a"):
        reply = await service.http.post("/jobs", json={"kind": "steps", "args": {}, "queue": name})
        assert (reply.status_code, "cannot name a queue" in reply.json()["detail"]) == (422, True)
        with pytest.raises(ConfigurationError, match="cannot name a queue"):
            service.milepost.worker(Settings(worker=WorkerSettings(queues=(name,))))
        if not name.startswith("."):
            with pytest.raises(ApiError, match="cannot name a queue"):
                await client.pause(name)


async def test_queues_are_listed_a_page_at_a_time(service: Service) -> None:
    for n in range(3):
        await service.submit(queue=f"q{n}")
    first = (await service.http.get("/queues", params={"limit": 2})).json()
    rest = (await service.http.get("/queues", params={"after": first[-1]["name"]})).json()
    assert [each["name"] for each in [*first, *rest]] == ["q0", "q1", "q2"]


async def test_the_limits_of_a_queue_are_on_its_page(service: Service) -> None:
    given = QueueLimits(concurrency=3, rate=100, per=timedelta(minutes=1), length=5000)
    await service.milepost.database.run(limits.set_limits, "narrow", given)
    await service.submit(queue="wide")
    page = (await service.client().get("http://localhost/queues")).text
    assert page.count("at most 3 at once, 100 in 1 m, 5000 waiting") == 1
    assert page.count("at most") == 1


async def test_how_long_a_queue_was_is_shown(service: Service) -> None:
    for _ in range(3):
        await service.submit(queue="deep")
    database = service.milepost.database
    await database.run(samples.take, database.clock)
    for asked, depth in (({}, 3), ({"queue": "deep"}, 3), ({"queue": "other"}, 0)):
        found = (await service.http.get("/queues/history", params=asked)).json()
        assert len(found) == 60
        assert {each["available"] for each in found} == {None, depth}
    page = (await service.client().get("http://localhost/queues")).text
    assert "Waiting in the last hour, at most 3" in page
    overview = (await service.client().get("http://localhost/?over=24h")).text
    assert "Waiting, at most 3" in overview


async def test_a_worker_samples_by_itself(working: Service) -> None:
    database = working.milepost.database

    async def sampled() -> bool:
        found = await database.query(
            samples.over_time, database.clock, over=timedelta(minutes=2), slots=2
        )
        return any(each.available is not None for each in found)

    await working.until(sampled, "a sample")
