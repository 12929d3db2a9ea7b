"""The contract of connectors, kept by a tap."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest

from milepost.connectors import Connector, Record
from milepost.testing.connectors import ConnectorContract, Fault, World
from tests.connectors.singer.conftest import Tap

COUNTS: Final[Mapping[str, int]] = {"orders": 23, "customers": 1, "refunds": 0}


def record(number: int) -> dict[str, Any]:
    """What the fake tap tells of a number."""
    return {"id": number, "name": f"record {number}", "nested": {"a": [number]}}


class TapWorld:
    """The fake tap; its fault is in a file that each run reads anew."""

    key = "id"

    def __init__(self, folder: Path) -> None:
        self.tables: Mapping[str, Sequence[Record]] = {
            name: [record(number) for number in range(1, count + 1)]
            for name, count in COUNTS.items()
        }
        self._tap = Tap(folder)
        self._fault = folder / "fault"
        self._fault.touch()
        self._tap.config["streams"] = {name: {"count": count} for name, count in COUNTS.items()}
        self._tap.config["fault"] = str(self._fault)

    async def suffer(self, fault: Fault) -> None:
        self._fault.write_text(fault)
        orders = [dict(each) for each in self.tables["orders"]]
        match fault:
            case "changed type":
                orders[11]["name"] = 12
            case "duplicate keys":
                orders.insert(11, {**record(1), "name": "a newer version"})
            case _:
                pass
        self.tables = {**self.tables, "orders": orders}

    async def open(self) -> Connector:
        return self._tap.open()


class TestSinger(ConnectorContract):
    faults: ClassVar[frozenset[Fault]] = frozenset(
        {
            "slow",
            "too many requests",
            "repeated page",
            "credentials refused",
            "changed type",
            "duplicate keys",
        }
    )

    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        return TapWorld(tmp_path)
