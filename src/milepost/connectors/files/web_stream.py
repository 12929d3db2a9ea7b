"""Reads a file on a web server from any place on, over connections that break."""

import re
import zlib
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from http import HTTPStatus
from typing import Final, Protocol

import aiohttp

from milepost.connectors.files.storage import changed
from milepost.connectors.http.client import HttpClient, Request
from milepost.errors import FatalConnectorError, RetryableConnectorError

_CHUNK: Final = 256 * 1024
# Asked for as it is: the places in it must be those of the file.
_AS_IT_IS: Final = {"Accept": "*/*", "Accept-Encoding": "identity"}


class Again(Protocol):
    """Asks again as long as that is reasonable."""

    async def __call__(self, ask: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return the first answer."""
        ...


class WebStream:
    """One file, read by one task at a time.

    A broken connection goes on where it broke. Where the server tells a version, that has to be
    the same then, and only the rest is asked for; otherwise all is, and its beginning compared.
    """

    def __init__(self, client: HttpClient, url: str, again: Again) -> None:
        self._client = client
        self._url = url
        self._again = again
        self.version: str | None = None
        self.offset = 0
        self.in_parts = False
        self._size: int | None = None
        self._begun = self._ended = False
        self._crc = 0
        self._response: aiohttp.ClientResponse | None = None
        self._opened = AsyncExitStack()

    async def begin(self) -> None:
        """Ask for the beginning, if nothing was asked for yet."""
        if not self._begun:
            await self._again(self._begin)

    async def read(self, limit: int) -> bytes:
        """Read so many bytes, fewer only at the end."""
        pieces: list[bytes] = []
        left = limit
        while left and (piece := await self._again(partial(self._piece, left))):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    async def go_to(self, offset: int) -> None:
        """Read on at another place; what is open there is asked for when it is read."""
        if offset != self.offset:
            await self._drop()
            self.offset, self._ended = offset, False

    async def whole_size(self) -> int:
        """Say how large the file is.

        Raises FatalConnectorError if the server does not.
        """
        await self.begin()
        if self._size is None:
            raise FatalConnectorError(f"{self._shown}: the server does not say how large it is")
        return self._size

    def drop(self) -> None:
        """Drop the connection at once."""
        if self._response is not None:
            self._response.close()

    @property
    def _shown(self) -> str:
        return self._client.show(self._url)

    async def _begin(self) -> bytes:
        async with self._client.named_errors(self._url):
            await self._ask(_CHUNK)
        return b""

    async def _piece(self, limit: int) -> bytes:
        if self._ended or self.offset == self._size:
            return b""
        async with self._client.named_errors(self._url):
            try:
                response = self._response or await self._ask(limit)
                piece = await response.content.read(limit)
            except BaseException:
                await self._drop()
                raise
        if piece:
            self._crc = zlib.crc32(piece, self._crc)
            self.offset += len(piece)
            return piece
        await self._drop()
        if self.in_parts:
            return await self._piece(limit)
        if self._size is not None and self.offset < self._size:
            raise RetryableConnectorError(f"{self._shown}: the reply stops in the middle")
        self._ended = True
        return b""

    async def _ask(self, limit: int) -> aiohttp.ClientResponse:
        begin = self.offset if self.version is not None or self.in_parts else 0
        headers = dict(_AS_IT_IS)
        if self.in_parts:
            headers["Range"] = f"bytes={begin}-{begin + limit - 1}"
        elif begin:
            headers["Range"] = f"bytes={begin}-"
        response, url, strayed = await self._opened.enter_async_context(
            self._client.opened(Request(self._url), headers)
        )
        if response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and begin:
            raise changed(self._shown, f"byte {begin:,}")
        if response.status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            reply = await self._client.reply_of(response, url, strayed=strayed)
            self._client.refuse(reply, self._url)
            raise FatalConnectorError(f"{self._shown}: {response.status}, and no file")
        self._check_version(response)
        await self._skip(response, begin)
        self._response = response
        return response

    def _check_version(self, response: aiohttp.ClientResponse) -> None:
        told, size = _version_of(response), _size_of(response)
        if self._begun and (told, size) != (self.version, self._size):
            raise changed(self._shown, f"byte {self.offset:,}")
        self.version, self._size, self._begun = told, size, True

    async def _skip(self, response: aiohttp.ClientResponse, begin: int) -> None:
        """Read up to the place where a server begins earlier than was asked."""
        at = 0
        if response.status == HTTPStatus.PARTIAL_CONTENT:
            told = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
            at = int(told[1]) if told else -1
        elif self.in_parts:
            raise FatalConnectorError(
                f"{self._shown}: the server sends no parts of files, which this format needs: "
                "download it first"
            )
        if at not in {begin, 0}:
            raise FatalConnectorError(f"{self._shown}: the server sends another part than asked")
        if self.in_parts:
            return
        crc = 0
        while at < self.offset:
            piece = await response.content.read(min(self.offset - at, _CHUNK))
            if not piece:
                raise changed(self._shown, f"byte {self.offset:,}")
            crc = zlib.crc32(piece, crc)
            at += len(piece)
        if self.version is None and crc != self._crc:
            raise changed(self._shown, f"byte {self.offset:,}")

    async def _drop(self) -> None:
        self._response = None
        opened, self._opened = self._opened, AsyncExitStack()
        await opened.aclose()


def _version_of(response: aiohttp.ClientResponse) -> str | None:
    # What was packed for the way has places of its own, which no range can name.
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return None
    tag = response.headers.get("ETag")
    changed_at = response.headers.get("Last-Modified")
    return tag or (changed_at and f"{changed_at} {_size_of(response)}")


def _size_of(response: aiohttp.ClientResponse) -> int | None:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return None
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        return int(total) if total.isdecimal() else None
    return response.content_length
