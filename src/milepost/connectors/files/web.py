"""A file on a web server."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

from milepost.connectors.files.source import FileSource
from milepost.connectors.files.storage import Found
from milepost.connectors.files.web_file import WebFile
from milepost.connectors.files.web_stream import WebStream
from milepost.connectors.http.client import HttpClient
from milepost.connectors.http.retrying import Patience, ask_again
from milepost.connectors.http.source import HttpSource
from milepost.connectors.kinds import Access


class WebStorage:
    """The one file that an http or https URL names. Its requests run in the loop that made it."""

    def __init__(self, source: FileSource, access: Access) -> None:
        described = HttpSource(
            url=source.path, headers=source.headers, basic_auth=source.basic_auth,
            # A large file takes its time; what counts is that something comes.
            reply_within=timedelta(days=365),
        )  # fmt: skip
        self._client = HttpClient(described, access)
        self._url = access.secrets.reveal_url(source.path)
        self._name = source.path
        self._shown = access.secrets.hide(self._url)
        self._loop = asyncio.get_running_loop()
        patience = Patience(max_tries=source.max_tries, wait_at_most=source.wait_at_most)
        self._again = partial(
            ask_again, patience=patience, on_wait=access.on_wait, sleep=access.sleep
        )

    def find(self) -> Sequence[Found]:
        """Name it; nothing is asked yet."""
        return [Found(self._name, self._shown, self._url)]

    def open(self, found: Found) -> WebFile:
        """Open it; it is asked for when it is read."""
        return WebFile(WebStream(self._client, found.where, self._again), self._loop)

    @contextmanager
    def named_errors(self, shown: str) -> Iterator[None]:
        """Leave the errors as they are: the client has named them."""
        del shown
        yield

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()
