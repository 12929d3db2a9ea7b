"""Two downloads of a manifest into a database, and what is wrong with others."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import svcs

from milepost import open_database, snapshots
from milepost.connectors import Access, Connector, Secrets, open_connector, source_from
from milepost.downloads import DownloadRecords, download_records
from milepost.downloads.state import Downloaded
from milepost.errors import FatalConnectorError
from milepost.testing import Sandbox
from tests.cli.commands import milepost
from tests.connectors.airbyte.shop import MANIFEST, TOKEN, Shop

pytestmark = pytest.mark.usefixtures("airbyte_cdk")


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    shop.start()
    yield shop
    shop.stop()


async def test_a_second_download_reads_new_orders_and_all_invoices(
    shop: Shop, tmp_path: Path
) -> None:
    into = str(tmp_path / "shop.db")

    async def download() -> Downloaded:
        source = source_from(
            f"airbyte:{MANIFEST}", config=shop.config, tables=["orders", "invoices"]
        )
        services = svcs.Registry()
        services.register_value(Secrets, Secrets({"TOKEN": TOKEN}))
        async with Sandbox(services) as sandbox:
            args = DownloadRecords(source=source, into=into)
            return (await sandbox.run(download_records, args)).result

    first = await download()
    assert {name: table.records for name, table in first.tables.items()} == {
        "orders": 13, "invoices": 5
    }  # fmt: skip
    shop.add_order()
    del shop.invoices[0]
    second = (await download()).tables
    orders, invoices = second["orders"], second["invoices"]
    assert (orders.records, orders.partial, orders.deleted) == (1, True, 0)
    assert (invoices.records, invoices.partial, invoices.deleted) == (4, False, 1)
    database = open_database(into)
    with database.read() as conn:
        found = {
            name: snapshots.read_rows(conn, name, deleted=False) for name in ("orders", "invoices")
        }
    database.close()
    assert sorted(row["id"] for row in found["orders"]) == list(range(1, 15))
    assert {(row["customer"], row["id"]) for row in found["invoices"]} == {
        (row["customer"], row["id"]) for row in shop.invoices
    }


def test_a_config_that_the_spec_refuses_is_told(tmp_path: Path) -> None:
    config = json.dumps({"url": "http://127.0.0.1:1"})
    done = milepost(
        tmp_path, "sources", "test", f"airbyte:{MANIFEST}", "--option", f"config={config}"
    )
    assert done.returncode == 1
    assert "Config validation error: 'token' is a required property" in done.stdout + done.stderr


RIGHT = MANIFEST.read_text()


def opened(manifest: Path) -> Connector:
    source = source_from(f"airbyte:{manifest}", config={"url": "u", "token": "$T"})
    return open_connector(source, Access(secrets=Secrets({"T": "token"})))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RIGHT[: RIGHT.index("spec:")], "the manifest has no spec, which says its config"),
        (RIGHT.replace("DpathExtractor", "NoExtractor"), "Validation against json schema"),
    ],
)
async def test_a_manifest_that_is_wrong_is_told(tmp_path: Path, text: str, said: str) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text)
    with pytest.raises(FatalConnectorError, match=said):
        await opened(wrong).tables()
