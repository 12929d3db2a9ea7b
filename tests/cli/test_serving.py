"""A service that is told to stop at the worst moment."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from milepost import Milepost, Settings
from milepost.cli.serving import _run
from milepost.settings import WebSettings
from milepost.store import schema, workers


async def test_a_worker_told_to_stop_while_it_starts_stops_when_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/store.db")
    milepost = Milepost([], settings=settings, observers=())
    await milepost.database.on_thread(lambda: schema.migrate(milepost.database))
    worker = milepost.worker()
    opening, told, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    open_broker, stop = worker._open_broker, worker.stop

    async def slowly(*args: Any) -> Any:
        opening.set()
        await go_on.wait()
        return await open_broker(*args)

    async def stopping() -> None:
        told.set()
        await stop()

    monkeypatch.setattr(worker, "_open_broker", slowly)
    monkeypatch.setattr(worker, "stop", stopping)
    monkeypatch.setattr(milepost, "worker", lambda: worker)
    async with asyncio.timeout(60):
        serving = asyncio.create_task(_run(milepost, "worker", WebSettings(), open_to_all=False))
        await opening.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await told.wait()
        go_on.set()
        await serving
    again = Milepost([], settings=settings, observers=())
    found = await again.database.query(workers.find, worker.id)
    await again.aclose()
    assert found is not None
    assert found.stopped_at is not None
