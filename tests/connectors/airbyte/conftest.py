import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from milepost.connectors import (
    Access,
    Connector,
    Cursor,
    Page,
    Secrets,
    open_connector,
    source_from,
)
from milepost.errors import ConnectorError
from tests.taps import CACHE, install_airbyte

REPLAY = Path(__file__).with_name("replay.py")


@pytest.fixture
async def airbyte_cdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(CACHE))
    await install_airbyte()


class Replay:
    """A program in place of airbyte-cdk's, which says what a test tells it to say.

    What airbyte-cdk itself says is tested with it; this is for what it seldom says.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        program = folder / "bin" / "source-declarative-manifest"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -S {REPLAY} {folder} "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.manifest = folder / "manifest.yaml"
        self.manifest.touch()
        self.log: list[str] = []
        self.environment: dict[str, str] = {}
        self.streams: list[Any] = [orders()]

    def open(self, **options: Any) -> Connector:
        options = {"page_size": 2, "venv": str(self._folder), **options}
        source = source_from(f"airbyte:{self.manifest}", **options)
        secrets = Secrets(self.environment)
        return open_connector(source, Access(secrets=secrets, on_log=self.log.append))

    async def pages(
        self,
        *said: Any,
        after: Cursor = None,
        code: int = 0,
        **options: Any,
    ) -> tuple[list[Page], ConnectorError | None]:
        """Read orders from a run that says this; the pages, and the error after them."""
        self.tells(*said, code=code)
        pages: list[Page] = []
        connector = self.open(**options)
        try:
            async for page in connector.pages("orders", after=after):
                pages.append(page)  # noqa: PERF401 (those before the error count)
        except ConnectorError as error:
            return pages, error
        return pages, None

    def tells(self, *said: Any, code: int = 0) -> None:
        """Let its runs say this."""
        catalog = {"type": "CATALOG", "catalog": {"streams": self.streams}}
        for command, lines, ends in (("discover", [catalog], 0), ("read", said, code)):
            told = [each if isinstance(each, str) else json.dumps(each) for each in lines]
            plan = json.dumps({"lines": told, "code": ends})
            (self._folder / f"{command}.json").write_text(plan)

    def runs(self) -> list[dict[str, Any]]:
        """What each run noted of itself."""
        return [json.loads(line) for line in (self._folder / "ran.jsonl").read_text().splitlines()]


@pytest.fixture
def replay(tmp_path: Path) -> Replay:
    return Replay(tmp_path)


def orders(**more: Any) -> dict[str, Any]:
    modes = ["full_refresh", "incremental"]
    return {"name": "orders", "json_schema": {}, "supported_sync_modes": modes, **more}


def record(number: int, stream: str = "orders") -> dict[str, Any]:
    said = {"stream": stream, "data": {"id": number}, "emitted_at": 1}
    return {"type": "RECORD", "record": said}


def state(place: Any, stream: str = "orders") -> dict[str, Any]:
    said = {"stream_descriptor": {"name": stream}, "stream_state": place}
    return {"type": "STATE", "state": {"type": "STREAM", "stream": said}}


def error(message: str, failure: str | None = None, detail: str | None = None) -> dict[str, Any]:
    said = {"message": message, "failure_type": failure, "internal_message": detail}
    return {"type": "TRACE", "trace": {"type": "ERROR", "error": said}}


def ended(status: str, stream: str = "orders") -> dict[str, Any]:
    said = {"stream_descriptor": {"name": stream}, "status": status}
    return {"type": "TRACE", "trace": {"type": "STREAM_STATUS", "stream_status": said}}
