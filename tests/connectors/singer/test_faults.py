"""Whatever a tap does wrong is named, and no process of it is left."""

import asyncio
import sys
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from milepost.connectors import Page
from milepost.errors import (
    AuthenticationRefused,
    ConnectorError,
    FatalConnectorError,
    RetryableConnectorError,
)
from tests.chaos.processes import alive
from tests.connectors.singer.conftest import Tap, ids


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        ("dies", RetryableConnectorError, "killed by signal 9"),
        ("breaks", RetryableConnectorError, "ConnectionResetError: the network is gone"),
        ("cut", RetryableConnectorError, 'in the middle of a line: \'{"type": "RECORD"'),
        ("garbage", FatalConnectorError, "Hello, I am a debugging print"),
        ("batch", FatalConnectorError, "BATCH"),
        ("long line", FatalConnectorError, "more than 1,000,000 bytes"),
        ("slow", RetryableConnectorError, "has said nothing for 0.4 s"),
        ("wrong config", FatalConnectorError, "missing required keys: \\['token'\\]"),
        ("refused at once", AuthenticationRefused, "401 Unauthorized"),
        ("credentials refused", AuthenticationRefused, "HTTP 401 Unauthorized for token \\$TOKEN"),
    ],
)
async def test_it_is_named_after_the_pages_before_it(
    tap: Tap, fault: str, error: type[ConnectorError], said: str
) -> None:
    tap.config |= {"fault": fault, "token": "$TOKEN"}
    tap.environment = {"TOKEN": "open sesame"}
    pages: list[Page] = []
    connector = tap.open(max_line_bytes=1_000_000, silent_within=timedelta(milliseconds=400))

    async def read() -> None:
        async for page in connector.pages("orders", after=None):
            pages.append(page)  # noqa: PERF401 (those before the fault count)

    with pytest.raises(error, match=said) as caught:
        await read()
    assert type(caught.value) is error
    assert "open sesame" not in str(caught.value)
    assert ids(pages) == [] if "config" in fault or "once" in fault else list(range(1, 11))
    assert not alive(processes_of(tap))


async def test_a_source_that_says_too_many_names_when_to_come_back(tap: Tap) -> None:
    tap.config |= {"fault": "too many requests"}
    with pytest.raises(RetryableConnectorError) as caught:
        await tap.pages()
    assert caught.value.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tables": ["nosuch"]}, "no stream 'nosuch'; it has: orders"),
        ({"select_with": {"orders": ["nosuch"]}}, "no stream 'nosuch'"),
        ({"catalog": "/nosuch.json"}, "/nosuch.json: No such file"),
        ({"catalog": __file__}, "no JSON"),
    ],
)
async def test_what_cannot_be_found_is_named(tap: Tap, options: Any, said: str) -> None:
    with pytest.raises(FatalConnectorError, match=said):
        await tap.pages(**options)


async def test_a_program_that_is_not_there_says_how_to_have_it(tap: Tap) -> None:
    tap.program = Path("tap-nosuch")
    with pytest.raises(FatalConnectorError, match="--option package=tap-nosuch"):
        await tap.pages()
    with pytest.raises(FatalConnectorError, match="/nosuch/bin/tap-nosuch is no program"):
        await tap.pages(venv="/nosuch")


async def test_a_tap_writes_no_faster_than_it_is_read(tap: Tap) -> None:
    tap.config["streams"]["orders"]["count"] = 1_000_000
    connector = tap.open()
    async with aclosing(connector.pages("orders", after=None)) as pages:
        await anext(pages)
        [process] = [each for each in processes_of(tap) if each.is_running()]
        await asyncio.sleep(0.2)
        before = process.cpu_times().user
        await asyncio.sleep(0.3)
        assert process.cpu_times().user - before < 0.05
    assert not alive([process])


@pytest.mark.parametrize("fault", ["slow", "deaf"])
async def test_nothing_is_left_of_a_tap_that_is_given_up(tap: Tap, fault: str) -> None:
    tap.config |= {"fault": fault, "child": True}

    async def read() -> None:
        await tap.pages()

    reading = asyncio.ensure_future(read())
    while len(processes := processes_of(tap)) < 3:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    reading.cancel()
    begun = asyncio.get_running_loop().time()
    with pytest.raises(asyncio.CancelledError):
        await reading
    took = asyncio.get_running_loop().time() - begun
    # One that listens goes at once, another one after the grace.
    assert took < 1 if fault == "slow" else 2.5 < took < 5
    assert len(processes) >= 3
    assert not alive(processes)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of a parent's death")
async def test_a_guard_that_is_killed_takes_its_tap_with_it(tap: Tap) -> None:
    tap.config["fault"] = "slow"
    reading = asyncio.ensure_future(tap.pages())
    while not tap.ran.exists() or len(tap.runs()) < 2:
        await asyncio.sleep(0.01)
    [process] = processes_of(tap)
    guard = process.parent()
    assert guard is not None
    guard.kill()
    with pytest.raises(RetryableConnectorError, match="killed by signal 9"):
        await reading
    assert not alive([process])


async def test_a_child_that_a_tap_leaves_behind_ends_with_it(tap: Tap) -> None:
    tap.config["child"] = True
    pages = await tap.pages()
    assert ids(pages) == list(range(1, 24))
    assert [run["child"] for run in tap.runs()]
    assert not alive(processes_of(tap))


def processes_of(tap: Tap) -> list[psutil.Process]:
    """The processes of all runs, and their children, as far as they are there."""
    runs = tap.runs() if tap.ran.exists() else []
    pids = [pid for run in runs for pid in (run["pid"], run["child"]) if pid]
    return [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
