"""The contract of connectors, kept by files of every kind."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

import pytest

from milepost.connectors import Access, Connector, Record, Secrets, open_connector, source_from
from milepost.testing.connectors import ConnectorContract, Fault, World
from tests.connectors.files.conftest import S3
from tests.connectors.files.writing import written
from tests.connectors.worlds import suffering

TABLES: Final[Mapping[str, Sequence[Record]]] = {
    "orders": [{"id": number, "text": f"order {number}"} for number in range(1, 24)],
    "refunds": [],
}


class Folder:
    """One file for each table, in a folder."""

    key = "id"

    def __init__(self, folder: Path, ending: str) -> None:
        self.tables = TABLES
        self.pattern = f"{folder}/*.{ending}"
        self._folder, self._ending = folder, ending
        self._write()

    def _write(self) -> None:
        for name, records in self.tables.items():
            path = self._folder / f"{name}.{self._ending}"
            path.write_bytes(written(records, self._ending))

    async def open(self) -> Connector:
        source = source_from(self.pattern, page_size=5, table_per_file=True)
        return open_connector(source, Access(secrets=Secrets({})))

    async def suffer(self, fault: Fault) -> None:
        self.tables = suffering(self.tables, fault)
        self._write()


class OfFiles(ConnectorContract):
    # In CSV all is text, and in Parquet a column has one type.
    faults: ClassVar[frozenset[Fault]] = frozenset({"duplicate keys"})
    ending: ClassVar[str]

    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        return Folder(tmp_path, self.ending)


class TestCsv(OfFiles):
    ending = "csv"


class TestJsonLines(OfFiles):
    faults = frozenset({"changed type", "duplicate keys"})
    ending = "jsonl"


class TestParquet(OfFiles):
    ending = "parquet"


class TestGzip(OfFiles):
    ending = "csv.gz"


class TestZstd(OfFiles):
    faults = frozenset({"changed type", "duplicate keys"})
    ending = "jsonl.zst"


class Bucket:
    """The same in a bucket."""

    tables = TABLES
    key = "id"

    def __init__(self, s3: S3) -> None:
        self.s3 = s3
        for name, records in TABLES.items():
            s3.put(f"data/{name}.csv", written(records, "csv"))

    async def open(self) -> Connector:
        source = source_from(
            f"s3://{self.s3.bucket}/data/*.csv", page_size=5, table_per_file=True,
            storage_options=self.s3.options,
        )  # fmt: skip
        return open_connector(source, Access(secrets=Secrets(self.s3.env)))

    async def suffer(self, fault: Fault) -> None:
        raise NotImplementedError(fault)


class TestS3(ConnectorContract):
    @pytest.fixture
    def world(self, s3: S3) -> World:
        return Bucket(s3)
