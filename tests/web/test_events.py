"""Server-sent events, over real HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from milepost.access import Access, Role
from milepost.errors import StoreUnavailable
from milepost.handles import JobHandle
from milepost.web import Server
from milepost.web.feed import Feed
from tests.web.conftest import SOON, Service


@pytest.fixture
async def url(working: Service) -> AsyncIterator[str]:
    async with Server(working.milepost, host="127.0.0.1", port=0) as server:
        yield f"{server.url}/api/v1"


@asynccontextmanager
async def listening(url: str, **headers: str) -> AsyncIterator[AsyncIterator[tuple[str, str, Any]]]:
    """Listen as an EventSource does; gives (name, id, data)."""
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as reply:
        assert reply.status == 200
        assert reply.content_type == "text/event-stream"
        yield events_of(reply)


async def events_of(reply: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, str, Any]]:
    fields: dict[str, str] = {}
    async for raw in reply.content:
        line = raw.decode().rstrip("\n")
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield fields["event"], fields.get("id", ""), json.loads(fields["data"])
            fields = {}


async def test_one_job_is_followed_to_its_end(url: str, working: Service) -> None:
    job_id = await working.submit(args={"steps": 5, "wait": True})
    lines: list[str] = []
    states: list[str] = []
    async with (
        asyncio.timeout(SOON.total_seconds()),
        listening(f"{url}/jobs/{job_id}/events") as events,
    ):
        async for name, _, data in events:
            if name == "log":
                lines.append(data["message"])
            elif name == "job":
                states.append(data["state"])
                if (
                    data["progress"]
                    and data["progress"]["count"] == 5
                    and data["state"] == "running"
                ):
                    await working.http.post(f"/jobs/{job_id}/cancel")
            else:
                assert name == "end"
    assert states[-1] == "cancelled"
    assert "running" in states
    assert lines == [f"step {n}" for n in range(5)]


async def test_who_comes_back_hears_the_lines_that_he_has_not(url: str, working: Service) -> None:
    job_id = await working.submit(args={"steps": 6})
    await working.ended(job_id)
    heard = []
    async with listening(f"{url}/jobs/{job_id}/events") as events:
        heard = [(name, id_, data) async for name, id_, data in events]
    lines = [(id_, data["message"]) for name, id_, data in heard if name == "log"]
    assert [message for _, message in lines] == [f"step {n}" for n in range(6)]

    again = {"Last-Event-ID": lines[3][0]}
    async with listening(f"{url}/jobs/{job_id}/events", **again) as events:
        heard = [(name, id_, data) async for name, id_, data in events]
    assert [data["message"] for name, _, data in heard if name == "log"] == ["step 4", "step 5"]
    assert [data["state"] for name, _, data in heard if name == "job"] == ["completed"]


async def test_all_jobs_are_followed_and_who_was_away_misses_no_end(
    url: str, working: Service
) -> None:
    async def hear(wanted: set[int], headers: dict[str, str]) -> tuple[dict[int, str], str]:
        states: dict[int, str] = {}
        async with (
            asyncio.timeout(SOON.total_seconds()),
            listening(f"{url}/events", **headers) as events,
        ):
            async for name, id_, data in events:
                assert name == "job"
                states[data["id"]] = data["state"]
                if all(states.get(each) == "completed" for each in wanted):
                    return states, id_
        raise AssertionError("the stream ended")

    listener = asyncio.ensure_future(hear(set(), {}))
    first = await working.submit(args={"steps": 2})
    _, last = await listener
    await working.ended(first)
    away = [await working.submit(args={"steps": 1}) for _ in range(5)]
    for each in away:
        await working.ended(each)
    states, _ = await hear({first, *away}, {"Last-Event-ID": last})
    assert {states[each] for each in away} == {"completed"}


async def test_a_token_of_an_owner_hears_of_his_jobs_alone(url: str, working: Service) -> None:
    _, token = await Access(working.milepost.database).create("bob", Role.VIEWER, owner="bob")
    heard: set[str] = set()
    headers = {"Authorization": f"Bearer {token}"}
    operator = working.client(await working.token(Role.OPERATOR))
    async with (
        asyncio.timeout(SOON.total_seconds()),
        listening(f"{url}/events", **headers) as events,
    ):
        for owner in ("ann", "bob"):
            await operator.post("/jobs", json={"kind": "steps", "args": {}, "owner": owner})
        async for _, _, data in events:
            heard.add(data["owner"])
            if data["state"] == "completed":
                break
    assert heard == {"bob"}


async def test_many_listeners_of_one_job_cost_one_look(working: Service) -> None:
    """Each hears the last state, though the job reports faster than they are told."""
    job_id = await working.submit(args={"steps": 200})
    feed = Feed(working.milepost)

    async def hear() -> tuple[int, Any]:
        states = [chunk async for chunk in feed.of_job(job_id) if chunk.startswith(b"event: job")]
        return len(states), json.loads(states[-1].partition(b"data: ")[2])

    async with asyncio.timeout(SOON.total_seconds()):
        heard = await asyncio.gather(*(hear() for _ in range(100)))
    assert {last["state"] for _, last in heard} == {"completed"}
    assert {last["progress"]["count"] for _, last in heard} == {200}
    assert max(count for count, _ in heard) < 100
    assert feed._jobs == {}


async def test_a_store_that_is_away_ends_a_stream_but_not_for_good(
    working: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `end` a browser comes again, and hears all when the store is back."""
    job_id = await working.submit(args={"steps": 3})
    await working.ended(job_id)
    feed = Feed(working.milepost)

    async def hear() -> list[str]:
        return [
            line.partition(" ")[2]
            for chunk in [each async for each in feed.of_job(job_id)]
            for line in chunk.decode().splitlines()
            if line.startswith("event: ")
        ]

    async def away(_: object) -> None:
        raise StoreUnavailable("the store is away")

    with monkeypatch.context() as broken:
        broken.setattr(JobHandle, "estimate", away)
        assert await hear() == ["log"] * 3 + ["trouble"]
    assert await hear() == ["log"] * 3 + ["job", "end"]
