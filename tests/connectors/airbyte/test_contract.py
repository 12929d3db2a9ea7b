"""The contract of connectors, kept by airbyte-cdk with a manifest."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import pytest

from milepost.connectors import (
    Access,
    Connector,
    Record,
    Secrets,
    Table,
    open_connector,
    source_from,
)
from milepost.connectors.connector import ColumnType
from milepost.testing.connectors import ConnectorContract, Fault, World
from tests.connectors.airbyte.shop import MANIFEST, TOKEN, Shop

# All tests of this module share one shop.
pytestmark = pytest.mark.xdist_group("airbyte")


class ShopWorld:
    """One shop for all tests. A start takes seconds, so the catalog is asked for once."""

    key = "id"

    def __init__(self) -> None:
        self.shop = Shop()
        self.shop.start()
        source = source_from(
            f"airbyte:{MANIFEST}", config=self.shop.config, tables=list(self.tables), page_size=4
        )
        self._connector = open_connector(source, Access(secrets=Secrets({"TOKEN": TOKEN})))

    @property
    def tables(self) -> Mapping[str, Sequence[Record]]:
        return {"orders": self.shop.orders, "invoices": self.shop.invoices, "refunds": []}

    async def suffer(self, fault: Fault) -> None:
        self.shop.suffer(fault)

    async def open(self) -> Connector:
        await self._connector.tables()
        return copy.copy(self._connector)


class TestAirbyte(ConnectorContract):
    faults: ClassVar[frozenset[Fault]] = frozenset(
        {
            "slow",
            "too many requests",
            "truncated",
            "repeated page",
            "credentials refused",
            "changed type",
            "duplicate keys",
        }
    )

    @pytest.fixture
    async def world(self, airbyte_cdk: None, shop_world: ShopWorld) -> World:
        shop_world.shop.suffer(None)
        return shop_world

    async def test_keys_and_columns_are_those_of_the_manifest(self, world: World) -> None:
        [orders, invoices, _] = await (await world.open()).tables()
        columns: dict[str, ColumnType] = {
            "id": "integer", "name": "text", "customer": "integer", "updated": "timestamp"
        }  # fmt: skip
        assert orders == Table("orders", ("id",), columns)
        assert invoices.key == ("customer", "id")


@pytest.fixture(scope="module")
def shop_world() -> Iterator[ShopWorld]:
    world = ShopWorld()
    yield world
    world.shop.stop()
