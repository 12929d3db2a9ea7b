"""A file on a web server: ranges or none, broken replies, other versions, pages for people."""

import asyncio
import re
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from aiohttp import web

from milepost.connectors import Page
from milepost.errors import AuthenticationRefused, FatalConnectorError, RetryableConnectorError
from tests.connectors.conftest import Serve
from tests.connectors.files.reading import assert_resumes, opened, pages, records, stored
from tests.connectors.files.writing import WRITTEN, written

# Larger than what is read ahead, so that a page is no whole file.
ROWS = [{"id": number, "text": f"text {number} " + "x" * 300} for number in range(3000)]
FEW = ROWS[:30]


@dataclass
class Site:
    """One file, as a server of this ability sends it."""

    body: bytes
    tag: str | None = '"one"'
    ranges: bool = True
    cut: list[int] = field(default_factory=list)
    largest_part: int | None = None
    sent: int = 0
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        self.asked.append(request.headers.get("Range", ""))
        begin, end, status = 0, len(self.body), 200
        headers = {"ETag": self.tag} if self.tag else {}
        if asked and self.ranges:
            begin, status = int(asked[1]), 206
            if begin >= end:
                return web.Response(status=416)
            end = min(int(asked[2]) + 1, end) if asked[2] else end
            end = min(end, begin + (self.largest_part or end))
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(self.body)}"
        headers["Content-Length"] = str(end - begin)
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        piece = self.body[begin:end]
        if self.cut:
            await response.write(piece[: self.cut.pop(0)])
            assert request.transport is not None
            request.transport.close()
            return response
        for at in range(0, len(piece), 65536):
            await response.write(piece[at : at + 65536])
            self.sent += len(piece[at : at + 65536])
        return response


@pytest.mark.parametrize("ending", WRITTEN)
async def test_every_format_is_read_from_a_server(ending: str, serve: Serve) -> None:
    server = await serve(Site(written(FEW, ending)).answer)
    assert await assert_resumes(f"file:{server.url}/x.{ending}", page_size=7) == FEW


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("tag", ['"one"', None])
async def test_it_goes_on_with_ranges_and_without(
    ranges: bool, tag: str | None, serve: Serve
) -> None:
    site = Site(written(ROWS, "csv"), tag, ranges)
    server = await serve(site.answer)
    [*_, late] = await pages(f"{server.url}/x.csv", page_size=500, most=5)
    site.sent = 0
    assert await records(f"{server.url}/x.csv", stored(late), page_size=500) == ROWS[2500:]
    if ranges and tag:
        # The beginning, for the header, and what follows the place.
        assert re.fullmatch(r"bytes=[1-9]\d+-", site.asked[-1])


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("tag", ['"one"', None])
async def test_a_reply_that_ends_early_is_asked_again_and_no_record_is_lost(
    ranges: bool, tag: str | None, serve: Serve
) -> None:
    site = Site(written(ROWS, "csv"), tag, ranges, cut=[10, 100, 300_000, 700_000])
    server = await serve(site.answer)
    assert await records(f"{server.url}/x.csv", page_size=500) == ROWS


async def test_a_server_that_sends_smaller_parts_is_asked_for_the_next(serve: Serve) -> None:
    site = Site(written(ROWS, "csv"), cut=[300_000], largest_part=200_000)
    server = await serve(site.answer)
    assert await records(f"{server.url}/x.csv", page_size=500) == ROWS


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
@pytest.mark.parametrize("tag", ['"one"', None])
async def test_a_file_that_changed_is_noticed_when_it_goes_on(
    ending: str, tag: str | None, serve: Serve
) -> None:
    site = Site(written(ROWS, ending), tag)
    server = await serve(site.answer)
    [*_, late] = await pages(f"{server.url}/x.{ending}", page_size=500, most=3)
    site.body = written([{"id": 9, "text": "new"}, *ROWS[1:]], ending)
    site.tag = tag and '"two"'
    with pytest.raises(FatalConnectorError, match="changed"):
        await pages(f"{server.url}/x.{ending}", stored(late), page_size=500)


@pytest.mark.parametrize("tag", ['"one"', None])
async def test_a_file_that_changes_while_it_is_read_is_noticed(
    tag: str | None, serve: Serve
) -> None:
    site = Site(written(ROWS, "csv"), tag, cut=[400_000])
    server = await serve(site.answer)
    whole = site.answer

    async def answer(request: web.Request) -> web.StreamResponse:
        if site.asked:
            site.body = site.body.replace(b"text 7 ", b"text 8 ")
            site.tag = tag and '"two"'
        return await whole(request)

    server.answer = answer
    with pytest.raises(FatalConnectorError, match="changed"):
        await pages(f"{server.url}/x.csv", page_size=500)


async def test_without_ranges_parquet_says_what_to_do(serve: Serve) -> None:
    server = await serve(Site(written(FEW, "parquet"), ranges=False).answer)
    with pytest.raises(FatalConnectorError, match="sends no parts of files.*download it first"):
        await pages(f"{server.url}/x.parquet")


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.jsonl"])
async def test_a_page_for_people_is_no_file(name: str, serve: Serve) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text="\n<!DOCTYPE html><p>Sign, in", content_type="text/html")

    server = await serve(answer)
    with pytest.raises(FatalConnectorError, match="is an HTML page"):
        await pages(f"{server.url}/{name}")


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (401, AuthenticationRefused, "401"), (403, AuthenticationRefused, "403"),
        (404, FatalConnectorError, "404"), (410, FatalConnectorError, "410"),
        (500, RetryableConnectorError, "tries"), (429, RetryableConnectorError, "tries"),
    ],
)  # fmt: skip
async def test_what_a_status_asks_for(
    status: int, kind: type[Exception], said: str, serve: Serve
) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    server = await serve(answer)
    with pytest.raises(kind, match=said) as caught:
        await pages(
            f"{server.url}/x.csv?token=$TOKEN", env={"TOKEN": "very-secret"}, max_tries=3,
            wait_at_most=timedelta(seconds=20),
        )  # fmt: skip
    assert "very-secret" not in str(caught.value)


async def test_a_server_that_says_when_to_come_back_is_left_alone(serve: Serve) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": "3600"})

    server = await serve(answer)
    with pytest.raises(RetryableConnectorError) as caught:
        await pages(f"{server.url}/x.csv")
    assert caught.value.retry_after == timedelta(hours=1)


async def test_a_server_that_is_not_there_is_asked_later() -> None:
    with pytest.raises(RetryableConnectorError):
        await pages("http://127.0.0.1:9/x.csv", max_tries=2)


async def test_credentials_are_sent_and_stay_at_home(serve: Serve) -> None:
    seen: list[str | None] = []

    async def away(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        return web.Response(body=written(FEW, "csv"))

    elsewhere = await serve(away)

    async def home(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        raise web.HTTPFound(elsewhere.url.replace("127.0.0.1", "localhost") + "/y.csv")

    server = await serve(home)
    read = await records(
        f"{server.url}/x.csv", headers={"Authorization": "Bearer $TOKEN"}, env={"TOKEN": "sesame"}
    )
    assert read == FEW
    assert seen == ["Bearer sesame", None]


async def test_a_url_may_be_a_variable_as_a_whole(serve: Serve) -> None:
    server = await serve(Site(written(FEW, "csv")).answer)
    signed = f"{server.url}/x.csv?sig=very-secret"
    read = await pages("file:$SIGNED", env={"SIGNED": signed}, page_size=7)
    assert [record for page in read for record in page.records] == FEW
    assert "very-secret" not in str([page.cursor for page in read])


async def test_reading_is_given_up_at_once_in_the_middle_of_a_slow_reply(serve: Serve) -> None:
    hang = asyncio.Event()
    site = Site(written(ROWS, "csv"))
    whole: Callable[[web.Request], Awaitable[web.StreamResponse]] = site.answer

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(site.body))})
        await response.prepare(request)
        await response.write(site.body[:400_000])
        await hang.wait()
        return response

    server = await serve(answer)
    connector = opened(f"{server.url}/x.csv", page_size=300)
    async with aclosing(connector.pages("x", after=None)) as walk:
        assert (await anext(walk)).records
        reading = asyncio.ensure_future(_exhaust(walk))
        done, _ = await asyncio.wait([reading], timeout=0.3)
        assert not done
        began = time.monotonic()
        reading.cancel()
        await asyncio.wait([reading], timeout=5)
        assert reading.cancelled()
        # Nor does a thread stay behind, waiting for the server.
        for thread in threading.enumerate():
            if thread.name == "reads a file":
                await asyncio.to_thread(thread.join, 5)
                assert not thread.is_alive()
    # And the connector is as good as new.
    server.answer = whole
    async with aclosing(connector.pages("x", after=None)) as walk:
        read = [record async for page in walk for record in page.records]
    assert read == ROWS
    await connector.aclose()
    assert time.monotonic() - began < 5
    hang.set()


async def _exhaust(walk: AsyncGenerator[Page]) -> None:
    async for _ in walk:
        pass
