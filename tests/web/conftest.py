"""A Milepost with its web application, on each database, and jobs that do as they are told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from milepost import JobContext, Milepost, Progress, Settings, Unrecoverable, WorkerSettings, job
from milepost.access import Access, Role
from milepost.web import create_app
from tests.stores import Stores

SOON = timedelta(seconds=30)


@dataclass(frozen=True)
class Order:
    """`steps` reports; then it fails where it shall, or waits until it is cancelled."""

    steps: int = 0
    fail: str = ""
    wait: bool = False


@dataclass(frozen=True)
class At:
    step: int = 0


@job("steps", max_attempts=2)
async def steps(ctx: JobContext[At], args: Order) -> str:
    for step in range(ctx.checkpoint.step, args.steps):
        ctx.log.info("step %d", step)
        await ctx.save(At(step + 1), progress=Progress(step + 1, args.steps, f"step {step}"))
    if args.fail:
        raise Unrecoverable(args.fail)
    while args.wait:
        await asyncio.sleep(0.01)
        ctx.cancel.raise_if_cancelled()
    return "done"


class Service:
    """The application, and a client of it for anybody."""

    def __init__(self, milepost: Milepost) -> None:
        self.milepost = milepost
        self.app = create_app(milepost)
        self.access = Access(milepost.database)
        self._clients: list[httpx.AsyncClient] = []
        self.http = self.client()

    def client(self, token: str | None = None, **headers: str) -> httpx.AsyncClient:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app), base_url="http://localhost/api/v1",
            headers=headers,
        )  # fmt: skip
        self._clients.append(client)
        return client

    async def token(self, role: Role, owner: str | None = None) -> str:
        return (await self.access.create(f"a {role}", role, owner=owner))[1]

    async def submit(self, **body: Any) -> int:
        reply = await self.http.post("/jobs", json={"kind": "steps", "args": {}, **body})
        assert reply.status_code in (200, 201), reply.text
        return int(reply.json()["id"])

    async def until(self, check: Callable[[], Any], what: str) -> Any:
        try:
            async with asyncio.timeout(SOON.total_seconds()):
                while not (found := await check()):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"waited in vain for {what}") from None
        return found

    async def ended(self, job_id: int) -> str:
        return str((await self.milepost.handle(job_id).wait(SOON)).state)

    async def aclose(self) -> None:
        for client in self._clients:
            await client.aclose()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, stores: Stores, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_store_url"))
    return stores.sqlite(tmp_path / "store.db")


@pytest.fixture
async def milepost(database_url: str) -> AsyncIterator[Milepost]:
    settings = Settings(
        database_url=database_url, worker=WorkerSettings(poll_every=timedelta(milliseconds=50))
    )
    made = Milepost([steps], settings=settings, observers=())
    async with made:
        yield made


@pytest.fixture
async def service(milepost: Milepost) -> AsyncIterator[Service]:
    service = Service(milepost)
    yield service
    await service.aclose()


@pytest.fixture
async def working(service: Service) -> AsyncIterator[Service]:
    """The service, with a worker."""
    async with service.milepost.worker():
        yield service
