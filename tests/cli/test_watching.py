"""What a person, or a program, sees of a running job."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import svcs

from milepost import Milepost, Settings, SyncJobContext, WorkerSettings, job
from milepost.cli.output import Output
from milepost.cli.watching import follow
from tests.worker.waiting import eventually

# A renewed lease changes the job's row; here none is renewed while the test looks.
NO_RENEWAL = timedelta(hours=1)


@dataclass
class Gates:
    """What the test lets the job do, one after the other."""

    speak: threading.Event = field(default_factory=threading.Event)
    end: threading.Event = field(default_factory=threading.Event)


@job("speaks")
def speaks(ctx: SyncJobContext[None], args: int, *, gates: Gates) -> None:
    ctx.progress(1, message="before it speaks")
    gates.speak.wait(60)
    ctx.log.warning("the shop is closed")
    gates.end.wait(60)


@pytest.fixture
def gates() -> Gates:
    return Gates()


@pytest.fixture
async def app(tmp_path: Path, gates: Gates) -> AsyncIterator[Milepost]:
    services = svcs.Registry()
    services.register_value(Gates, gates)
    settings = Settings(
        database_url=f"sqlite:///{tmp_path / 'store.db'}",
        worker=WorkerSettings(lease_for=NO_RENEWAL),
    )
    opened = Milepost([speaks], settings=settings, services=services)
    async with opened, opened.worker():
        yield opened
        gates.speak.set()
        gates.end.set()


@pytest.mark.parametrize("as_json", [False, True])
async def test_a_warning_is_seen_while_nothing_else_of_the_job_changes(
    app: Milepost, gates: Gates, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    said = ""

    def hear(text: str) -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return text in said

    handle = await app.submit(speaks, 0)
    following = asyncio.create_task(follow(handle, Output(json=as_json)))
    await eventually(lambda: hear("before it speaks"))
    gates.speak.set()
    await eventually(lambda: hear("the shop is closed"))
    gates.end.set()
    assert (await following).state == "completed"

    hear("")
    if as_json:
        events: list[dict[str, Any]] = [json.loads(line) for line in said.splitlines()]
        [logged] = [event for event in events if event["event"] == "log"]
        assert logged == {
            "event": "log", "job": 1, "level": "warning", "message": "the shop is closed",
        }  # fmt: skip
    else:
        assert said.count("the shop is closed") == 1
