"""Who may read the metrics, on both ports; and a worker's port that is not safe or not free."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2 as httpx
import pytest

from milepost import Milepost, Settings
from milepost.access import Access, Role
from milepost.errors import ConfigurationError
from milepost.telemetry.scraping import ScrapePort
from milepost.web import create_app
from tests.servers import free_port


@pytest.fixture
async def milepost(tmp_path: Path) -> AsyncIterator[Milepost]:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/store.db")
    async with Milepost(settings=settings, observers=()) as made:
        yield made


def port_of(milepost: Milepost, host: str = "127.0.0.1", port: int | None = None) -> ScrapePort:
    access = Access(milepost.database)
    return ScrapePort(milepost.metrics, access, host=host, port=port or free_port())


@pytest.mark.parametrize("part", ["web", "worker"])
async def test_a_scraper_needs_the_token_of_a_viewer_of_all(milepost: Milepost, part: str) -> None:
    access = Access(milepost.database)
    port = free_port()
    async with (
        port_of(milepost, port=port),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=create_app(milepost)) if part == "web" else None
        ) as client,
    ):
        url = f"http://localhost:{port}/metrics"

        async def get(token: str | None = None) -> httpx.Response:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return await client.get(url, headers=headers)

        reply = await get()
        assert reply.status_code == 200
        assert "milepost_store_up 1.0" in reply.text
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        token_id, token = await access.create("prometheus", Role.VIEWER)
        _, of_ann = await access.create("ann", Role.ADMIN, owner="ann")
        assert (await get()).status_code == 401
        assert (await get("milepost_wrong")).status_code == 401
        assert (await get(of_ann)).status_code == 403
        assert (await get(token)).status_code == 200
        await access.revoke(token_id)
        assert (await get(token)).status_code == 401


async def test_an_address_that_others_reach_needs_a_token_first(milepost: Milepost) -> None:
    with pytest.raises(ConfigurationError, match="others reach 0.0.0.0, and there is no token"):
        await port_of(milepost, host="0.0.0.0").start()
    await Access(milepost.database).create("prometheus", Role.VIEWER)
    async with port_of(milepost, host="0.0.0.0"):
        pass


async def test_a_port_that_is_taken_is_told_with_the_setting(milepost: Milepost) -> None:
    port = free_port()
    async with port_of(milepost, port=port):
        with pytest.raises(ConfigurationError, match="MILEPOST_METRICS_PORT takes another"):
            await port_of(milepost, port=port).start()
