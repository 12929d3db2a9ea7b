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

FAKE = Path(__file__).with_name("fake_tap.py")


class Tap:
    """The fake tap as a program in a folder, and what a test knows of its runs."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "tap-fake"
        self.program.write_text(f'#!/bin/sh\nexec {sys.executable} -S {FAKE} "$@"\n')
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)
        self.ran = folder / "ran.jsonl"
        self.log: list[str] = []
        self.config: dict[str, Any] = {
            "streams": {"orders": {"count": 23}}, "ran": str(self.ran),
        }  # fmt: skip
        self.environment: dict[str, str] = {}

    @property
    def address(self) -> str:
        return f"singer:{self.program}"

    def open(self, **options: Any) -> Connector:
        options = {"config": self.config, "page_size": 5, **options}
        source = source_from(self.address, **options)
        return open_connector(
            source, Access(secrets=Secrets(self.environment), on_log=self.log.append)
        )

    async def pages(
        self, table: str = "orders", after: Cursor = None, **options: Any
    ) -> list[Page]:
        connector = self.open(**options)
        return [page async for page in connector.pages(table, after=after)]

    def runs(self) -> list[dict[str, Any]]:
        """What each run noted of itself; the ones that only discover too."""
        return [json.loads(line) for line in self.ran.read_text().splitlines()]


@pytest.fixture
def tap(tmp_path: Path) -> Tap:
    return Tap(tmp_path)


def ids(pages: list[Page]) -> list[int]:
    return [record["id"] for page in pages for record in page.records]
