"""Which addresses are files, how tables are named, and what a source must not hold."""

from pathlib import Path
from typing import Any

import pytest
from fsspec.registry import _registry

from milepost.connectors import FileSource, dump_source, source_from
from milepost.connectors.files.addresses import table_of
from milepost.errors import FatalConnectorError
from tests.connectors.files.reading import opened, pages, records


@pytest.mark.parametrize(
    "address",
    [
        "orders.csv", "a/b.jsonl.zst", "data/*.parquet", "s3://b/k*.csv", "gs://b/x.json",
        "memory://x/y.csv", "https://h/data.csv", "http://h/data.csv.gz?v=1", "https://h/x.json.gz",
        "file:https://h/export", "file:https://h/x.json", "file:///tmp/x.csv", "file:x.csv",
        "file:$URL", "https://h/x.parquet",
    ],
)  # fmt: skip
def test_what_is_a_file(address: str) -> None:
    assert source_from(address).kind == "file"


@pytest.mark.parametrize("address", ["https://h/v1/orders", "https://h/x.json", "$API", "http://h"])
def test_what_is_an_api(address: str) -> None:
    assert source_from(address).kind == "http"


@pytest.mark.parametrize("address", ["nix://x", "gopher://h/x"])
def test_what_is_no_file(address: str) -> None:
    with pytest.raises(FatalConnectorError, match="is no source of any kind"):
        source_from(address)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("data/*.parquet", "data"), ("data/**/2024-*.jsonl.zst", "data"), ("d/2024-*.csv", "2024"),
        ("*.csv", "records"), ("d/line-items.csv.gz", "line_items"), ("s3://b/key*.csv", "key"),
        ("s3://b/*.csv", "b"),
    ],
)  # fmt: skip
def test_a_table_is_named_after_what_is_fixed(pattern: str, name: str) -> None:
    assert table_of(pattern) == name


async def test_a_table_may_have_a_name_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id\n1\n")
    [table] = await opened(tmp_path / "x.csv", tables=["orders"]).tables()
    assert table.name == "orders"
    with pytest.raises(FatalConnectorError, match="table_per_file"):
        source_from("x.csv", tables=["a", "b"])


async def test_a_path_that_exists_is_no_pattern(tmp_path: Path) -> None:
    (tmp_path / "x[1].csv").write_text("id\n1\n")
    (tmp_path / "x1.csv").write_text("id\n2\n")
    assert await records(tmp_path / "x[1].csv") == [{"id": 1}]


@pytest.mark.parametrize(
    "options",
    [
        {"address": "s3://b/x.csv", "storage_options": {"secret": "plain"}},
        {"address": "s3://b/x.csv", "storage_options": {"client_kwargs": {"password": "plain"}}},
        {"address": "x.csv", "storage_options": {"secret": "plain"}},
        {"address": "sftp://ann:plain@h/x.csv"},
        {"address": "https://h/x.csv?X-Amz-Signature=plain"},
        {"address": "https://h/x.csv", "headers": {"Authorization": "Bearer plain"}},
        {"address": "https://h/x.csv", "basic_auth": "ann:plain"},
    ],
)
def test_a_secret_in_plain_text_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(FatalConnectorError, match="holds a secret in plain text") as caught:
        source_from(**options)
    assert "plain@" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"delimiter": ";;"}, "delimiter must be one character"),
        ({"encoding": "klingon"}, "encoding 'klingon' is not known"),
        ({"encoding": "hex"}, "is not known"),
        ({"column_names": ["a"]}, "set header to false"),
        ({"compression": "rar"}, "compression"),
    ],
)
def test_options_that_can_never_work_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(FatalConnectorError, match=said):
        source_from("x.csv", **options)


def test_a_source_is_json_and_back() -> None:
    source = FileSource(path="s3://b/*.csv", storage_options={"secret": "$S"}, column_names=())
    from milepost.connectors import check_source

    assert check_source(dump_source(source)) == source


async def test_a_library_that_is_missing_is_named_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for module, name, said in [
        ("pyarrow", "x.parquet", r"pip install 'milepost\[parquet\]'"),
        ("backports.zstd", "x.csv.zst", r"pip install 'milepost\[files\]'"),
    ]:
        (tmp_path / name).write_bytes(b"\x28\xb5\x2f\xfdPAR1 and more")
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(FatalConnectorError, match=said):
            await pages(tmp_path / name, compression="zstd" if "zst" in name else "none")
    # fsspec remembers what it has imported.
    monkeypatch.delitem(_registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(FatalConnectorError, match=r"pip install 'milepost\[s3\]'"):
        await pages("s3://b/x.csv")
