"""The example with Python, Node and Bull Board, as its users start it."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from examples.bullmq.shop import Mail, report, send_mail

from milepost import Milepost, Settings
from milepost.settings import RedisSettings
from tests.interop.node import PROGRAM, node
from tests.servers import free_port

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
async def program(redis_settings: RedisSettings) -> AsyncIterator[tuple[Any, str]]:
    port = free_port()
    environment = {
        **os.environ,
        "REDIS_URL": redis_settings.url or "",
        "MILEPOST_REDIS_PREFIX": redis_settings.prefix,
        "PORT": str(port),
        "NODE_PATH": str(PROGRAM.parent / "node_modules"),
    }
    process = await asyncio.create_subprocess_exec(
        node(), "examples/bullmq/program.cjs",
        cwd=ROOT, env=environment, stdout=subprocess.PIPE,
    )  # fmt: skip
    yield process, f"http://127.0.0.1:{port}"
    process.kill()
    await process.wait()


async def said(process: Any) -> str:
    line: bytes = await asyncio.wait_for(process.stdout.readline(), 60)
    return line.decode().strip()


async def board(url: str) -> dict[str, Any]:
    """What Bull Board shows of each queue."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/api/queues", params={"activeQueue": "reports"}) as reply,
    ):
        shown = await reply.json()
    return {queue["name"]: queue for queue in shown["queues"]}


async def test_python_node_and_bull_board_share_their_queues(
    redis_settings: RedisSettings, program: tuple[Any, str], tmp_path: Path
) -> None:
    process, url = program
    settings = Settings(database_url=f"sqlite:///{tmp_path}/store.db", redis=redis_settings)
    async with Milepost([report, send_mail], settings=settings, observers=()) as milepost:
        assert (await said(process)).startswith("Bull Board: http://127.0.0.1:")
        assert (await said(process)).startswith("asked for report ")
        waiting = (await board(url))["reports"]
        assert waiting["counts"]["waiting"] == 1
        async with milepost.worker():
            assert await said(process) == "report of acme: 3 customers"
            handle = await milepost.submit(send_mail, Mail("ann@example.com"))
            assert await handle.result() == "sent to ann@example.com"
        deadline = time.monotonic() + 30
        while (shown := (await board(url))["reports"])["counts"]["completed"] != 1:
            assert time.monotonic() < deadline
    [job] = shown["jobs"]
    assert job["returnValue"] == "report of acme: 3 customers"
    assert job["progress"]["progress"] == 100
