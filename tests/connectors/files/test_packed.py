"""Packed files: read in bounded memory, resumed, and never taken for whole when they are not."""

import gzip
import json
import random
import tracemalloc
from pathlib import Path

import pytest
from backports import zstd

from milepost.errors import FatalConnectorError
from tests.connectors.files.reading import assert_resumes, pages, records, stored
from tests.connectors.files.writing import WRITTEN, written

ROWS = [{"id": number, "text": f"text {number}"} for number in range(23)]


@pytest.mark.parametrize("ending", WRITTEN)
async def test_every_format_and_compression_resumes_after_every_page(
    ending: str, tmp_path: Path
) -> None:
    path = tmp_path / f"x.{ending}"
    path.write_bytes(written(ROWS, ending))
    assert await assert_resumes(path, page_size=4) == ROWS


@pytest.mark.parametrize("ending", ["csv.gz", "csv.zst"])
async def test_a_file_of_many_buffers_is_unpacked_to_its_end(ending: str, tmp_path: Path) -> None:
    chance = random.Random(7)
    rows = [
        {"id": at, "text": f"customer {at % 977} {chance.random() * 100:.2f} {at % 28}"}
        for at in range(120_000)
    ]
    path = tmp_path / f"x.{ending}"
    path.write_bytes(written(rows, ending))
    assert await records(path, page_size=5000) == rows


async def test_the_first_bytes_tell_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(written(ROWS, "csv.gz"))
    assert await records(path) == ROWS
    path = tmp_path / "y.csv.gz"
    path.write_bytes(written(ROWS, "csv"))
    assert await records(path) == ROWS


@pytest.mark.parametrize("ending", ["csv.gz", "csv.zst"])
async def test_a_file_that_ends_early_is_not_taken_for_whole(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{ending}"
    whole = written(ROWS, ending)
    for size in (1, 3, 30, len(whole) // 2 + 5, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(FatalConnectorError):
            await pages(path)
    path.write_bytes(b"")
    with pytest.raises(FatalConnectorError, match="is empty, and so no"):
        await pages(path)


@pytest.mark.parametrize("ending", ["csv.gz", "csv.zst"])
async def test_a_file_with_damage_or_something_behind_it_is_refused(
    ending: str, tmp_path: Path
) -> None:
    path = tmp_path / f"x.{ending}"
    whole = written(ROWS, ending)
    path.write_bytes(whole + b"\0" * 512)
    assert await records(path) == ROWS
    for bad in (whole + b"more", whole[:-4] + b"\1\2\3\4", whole[:20] + b"\xff" + whole[21:]):
        path.write_bytes(bad)
        with pytest.raises(FatalConnectorError, match="cannot be unpacked"):
            await pages(path)


async def test_a_packed_file_that_changed_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "x.csv.gz"
    path.write_bytes(written(ROWS, "csv.gz"))
    [_, second, *_] = await pages(path, page_size=4)
    path.write_bytes(written([{"id": 99, "text": "x"}, *ROWS[1:]], "csv.gz"))
    with pytest.raises(FatalConnectorError, match="has changed since it was read up to line 9"):
        await pages(path, stored(second))
    # Packed otherwise it says the same.
    path.write_bytes(written(ROWS, "csv.zst"))
    assert await records(path, stored(second)) == ROWS[8:]


async def test_memory_is_bounded_whatever_it_unpacks_to(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    line = json.dumps({"text": "x" * 1000}).encode() + b"\n"
    path.write_bytes(gzip.compress(line * 60_000, 1))
    tracemalloc.start()
    try:
        assert len(await pages(path, page_size=100, most=3)) == 3
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


async def test_one_line_of_a_bomb_is_not_taken_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.zst"
    path.write_bytes(zstd.compress(b" " * 64_000_000))
    with pytest.raises(FatalConnectorError, match="longer than 16,777,216 bytes"):
        await pages(path)
    path = tmp_path / "x.json.gz"
    path.write_bytes(gzip.compress(b" " * 4_000_000))
    with pytest.raises(FatalConnectorError, match="larger than 1,000,000 bytes"):
        await pages(path, max_json_bytes=1_000_000)
