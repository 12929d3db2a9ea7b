"""S3 and what else fsspec opens: patterns, versions, credentials, reads that hang."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from milepost.errors import AuthenticationRefused, FatalConnectorError, RetryableConnectorError
from tests.connectors.files.conftest import S3
from tests.connectors.files.reading import assert_resumes, opened, pages, records, stored
from tests.connectors.files.writing import written

ROWS = [{"id": number, "text": f"text {number}"} for number in range(30)]


def options(s3: S3) -> dict[str, Any]:
    return {"storage_options": s3.options, "env": dict(s3.env)}


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "jsonl.zst", "json", "parquet"])
async def test_every_format_is_read_from_s3(ending: str, s3: S3) -> None:
    url = s3.put(f"data/x.{ending}", written(ROWS, ending))
    assert await assert_resumes(url, page_size=14, **options(s3)) == ROWS


async def test_a_pattern_in_s3_is_one_table_and_resumes(s3: S3) -> None:
    for name, begin in (("b.csv.gz", 10), ("a.csv", 0), ("c.parquet", 20)):
        ending = name.partition(".")[2]
        s3.put(f"data/2024/{name}", written(ROWS[begin : begin + 10], ending))
    s3.put("other/d.csv", b"id\n99\n")
    url = f"s3://{s3.bucket}/data/**/*.*"
    assert await assert_resumes(url, page_size=14, **options(s3)) == ROWS
    [*_, last] = await pages(url, only_new=True, **options(s3))
    assert await records(url, last.bookmark, only_new=True, **options(s3)) == []
    s3.put("data/2024/a.csv", written(ROWS[:11], "csv"))
    assert await records(url, last.bookmark, only_new=True, **options(s3)) == ROWS[:11]


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
async def test_an_object_that_changed_is_noticed(ending: str, s3: S3) -> None:
    url = s3.put(f"x.{ending}", written(ROWS, ending))
    [_, second, *_] = await pages(url, page_size=4, **options(s3))
    s3.put(f"x.{ending}", written([{"id": 99, "text": "x"}, *ROWS[1:]], ending))
    with pytest.raises(FatalConnectorError, match="has changed since it was read"):
        await pages(url, stored(second), page_size=4, **options(s3))


async def test_an_object_that_changes_while_it_is_read_is_noticed(s3: S3) -> None:
    rows = [{"id": number, "text": "x" * 1000} for number in range(10_000)]
    url = s3.put("x.csv", written(rows, "csv"))
    connector = opened(url, page_size=500, **options(s3))
    async with aclosing(connector.pages("x", after=None)) as walk:
        await anext(walk)
        s3.put("x.csv", written(rows[::-1], "csv"))
        with pytest.raises(FatalConnectorError, match="changed"):
            [page async for page in walk]


async def test_what_is_not_there_and_what_is_refused(s3: S3) -> None:
    with pytest.raises(FatalConnectorError, match="there is no such file"):
        await pages(f"s3://{s3.bucket}/nosuch.csv", **options(s3))
    with pytest.raises(FatalConnectorError, match="no file matches this pattern"):
        await pages(f"s3://{s3.bucket}/nosuch*.csv", **options(s3))
    with pytest.raises(FatalConnectorError, match=r"\$SECRET has no value"):
        await pages(f"s3://{s3.bucket}/x.csv", storage_options=s3.options, env={"KEY": "x"})


async def test_a_store_that_does_not_answer_is_asked_later() -> None:
    with pytest.raises(RetryableConnectorError):
        await pages(
            "s3://bucket/x.csv", env={"K": "some-key", "S": "some-secret"},
            storage_options={
                "key": "$K", "secret": "$S",
                "client_kwargs": {"endpoint_url": "http://127.0.0.1:9"},
                "config_kwargs": {"retries": {"max_attempts": 0}},
            },
        )  # fmt: skip


class Moody(MemoryFileSystem):
    """A store that fails, or hangs, when it is told."""

    protocol = "moody"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    error: ClassVar[Exception | None] = None
    hang: ClassVar[threading.Event] = threading.Event()

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(path.removeprefix("moody://"))

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        file = super()._open(path, mode, **kwargs)
        if "r" not in mode:
            return file
        if Moody.error is not None:
            raise Moody.error
        Moody.hang.wait(30)
        return file


@pytest.fixture
def moody() -> Iterator[type[Moody]]:
    fsspec.register_implementation("moody", Moody, clobber=True)
    Moody.error = None
    Moody.hang.set()
    fsspec.filesystem("moody").pipe_file("/a/x.csv", b"id\n1\n")
    yield Moody
    Moody.hang.set()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PermissionError("very-secret is wrong"), AuthenticationRefused),
        (FileNotFoundError("x"), FatalConnectorError),
        (TimeoutError("very-secret"), RetryableConnectorError),
        (ConnectionResetError("x"), RetryableConnectorError),
        (RuntimeError("what a library may raise: very-secret"), RetryableConnectorError),
        (ValueError("x"), FatalConnectorError),
    ],
)
async def test_errors_of_any_store_say_what_to_do(
    error: Exception, kind: type[Exception], moody: type[Moody]
) -> None:
    assert await records("moody:///a/x.csv") == [{"id": 1}]
    moody.error = error
    with pytest.raises(kind) as caught:
        await pages(
            "moody:///a/x.csv", storage_options={"token": "$TOKEN"}, env={"TOKEN": "very-secret"}
        )
    assert "very-secret" not in str(caught.value)


async def test_a_read_that_hangs_is_given_up_at_once(moody: type[Moody]) -> None:
    moody.hang.clear()
    connector = opened("moody:///a/x.csv")
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), aclosing(connector.pages("x", after=None)) as walk:
            await anext(walk)
    await connector.aclose()
    assert time.monotonic() - began < 2
    hanging = [each for each in threading.enumerate() if each.name == "reads a file"]
    assert all(each.daemon for each in hanging)
    moody.hang.set()
    for each in hanging:
        each.join(5)
        assert not each.is_alive()
