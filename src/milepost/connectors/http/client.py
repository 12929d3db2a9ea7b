"""One GET after another: limits, redirects, credentials for one origin only."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp

from milepost.connectors.http.replies import Reply, decode, excerpt_of, refusal
from milepost.connectors.http.urls import origin, with_params, without_params
from milepost.connectors.secrets import Secrets, references
from milepost.connectors.sources import HttpSource
from milepost.errors import AuthenticationRefused, FatalConnectorError, RetryableConnectorError

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_MAX_ERROR_BYTES = 64 * 1024
_EXCERPT = 200
_ANYONE: Mapping[str, str] = {"Accept": "application/json", "User-Agent": "milepost"}


class HttpClient:
    """Asks one source. Opens its session with the first request, keeps its connections alive."""

    def __init__(self, source: HttpSource, secrets: Secrets) -> None:
        self._source = source
        self._secrets = secrets
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._headers = {**_ANYONE, **self._revealed(source.headers)}
        if source.basic_auth is not None:
            self._headers["Authorization"] = secrets.basic_auth(source.basic_auth)
        self.params = self._revealed(source.params)
        for name, value in self.params.items():
            secrets.conceal(f"{name}={value}", source.params[name])
        self._secret_params = {
            name: self.params[name] for name, value in source.params.items() if references(value)
        }

    async def get(self, url: str) -> tuple[Reply, Any]:
        """Ask once, and decode the JSON. The secret parameters are added here.

        Raises the ConnectorError that says what to do; its text holds no secrets.
        """
        try:
            reply = await self._follow(with_params(url, self._secret_params))
        # TimeoutError is also an OSError, but says less than the other errors do.
        except TimeoutError:
            raise RetryableConnectorError(f"{self.show(url)}: no reply in time") from None
        except (aiohttp.InvalidURL, ValueError) as error:
            raise FatalConnectorError(f"{self.show(url)}: {self._said(error)}") from None
        except aiohttp.ClientSSLError as error:
            raise FatalConnectorError(
                f"{self.show(url)}: no secure connection: {self._said(error)}"
            ) from None
        except aiohttp.ClientPayloadError:
            raise RetryableConnectorError(
                f"{self.show(url)}: the reply stops in the middle"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise RetryableConnectorError(f"{self.show(url)}: {self._said(error)}") from None
        what = self.show(url)
        if reply.strayed:
            what += f" (redirected to {self._secrets.hide(reply.url)})"
        excerpt = self._secrets.hide(excerpt_of(reply.body))[:_EXCERPT]
        refused = refusal(reply, what, excerpt)
        if isinstance(refused, AuthenticationRefused):
            raise AuthenticationRefused(f"{refused}. {self._advice(strayed=reply.strayed)}")
        if refused is not None:
            raise refused
        return reply, decode(reply, what)

    def show(self, url: str) -> str:
        """Write a URL for people, without secrets."""
        shown = without_params(url, self._secret_params)
        for name in self._secret_params:
            # Short values are not hidden by themselves; a parameter that holds one is.
            shown += f"{'&' if '?' in shown else '?'}{name}={self._source.params[name]}"
        return self._secrets.hide(shown)

    def without_secret_params(self, url: str) -> str:
        """Drop the parameters that `get` adds again."""
        return without_params(url, self._secret_params)

    async def aclose(self) -> None:
        """Close the session; safe to call twice."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _follow(self, url: str) -> Reply:
        home, strayed = origin(url), False
        for _ in range(_MAX_REDIRECTS + 1):
            # Once away from home, even a way back is the choice of a stranger.
            headers = _ANYONE if strayed else self._headers
            async with self._opened().get(url, headers=headers, allow_redirects=False) as response:
                target = response.headers.get("Location")
                if response.status not in _REDIRECTS or target is None:
                    return Reply(
                        url=url,
                        status=response.status,
                        headers=response.headers,
                        link=", ".join(response.headers.getall("Link", ())),
                        body=await self._read(response, url),
                        strayed=strayed,
                    )
            target = urljoin(url, target)
            if urlsplit(target).scheme not in {"http", "https"}:
                raise FatalConnectorError(f"{self.show(url)} redirects to another protocol")
            strayed = strayed or origin(target) != home
            if strayed:
                url = without_params(target, self._source.params)
            else:
                url = with_params(target, self._secret_params)
        raise FatalConnectorError(f"{self.show(url)}: more than {_MAX_REDIRECTS} redirects")

    async def _read(self, response: aiohttp.ClientResponse, url: str) -> bytes:
        limit = self._source.max_reply_bytes
        chunks, size = [], 0
        # Counted as it is decompressed: a small reply may unpack to a huge one.
        async for chunk in response.content.iter_any():
            size += len(chunk)
            chunks.append(chunk)
            if response.status >= 300 and size >= _MAX_ERROR_BYTES:  # noqa: PLR2004
                break
            if size > limit:
                raise FatalConnectorError(
                    f"{self.show(url)}: the reply is larger than {limit:,} bytes: "
                    "ask for smaller pages with --page-size"
                )
        return b"".join(chunks)

    def _opened(self) -> aiohttp.ClientSession:
        if self._closed:
            raise RuntimeError("the connector is closed")
        if self._session is None:
            source = self._source
            self._session = aiohttp.ClientSession(
                # Cookies of one origin have no business at another, and APIs need none.
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=source.reply_within.total_seconds(),
                    sock_connect=source.connect_within.total_seconds(),
                    sock_read=source.read_within.total_seconds(),
                ),
            )
        return self._session

    def _revealed(self, templates: Mapping[str, str]) -> dict[str, str]:
        revealed = {}
        for name, template in templates.items():
            value = self._secrets.reveal(template)
            if "\n" in value or "\r" in value or "\0" in value:
                raise FatalConnectorError(
                    f"{name} ({template}) holds a line break: look at the end of the variable"
                )
            revealed[name] = value
        return revealed

    def _said(self, error: BaseException) -> str:
        return self._secrets.hide(str(error) or type(error).__name__)

    def _advice(self, *, strayed: bool) -> str:
        if strayed:
            return (
                "The source redirects to another origin, which gets no credentials: "
                "if that is right, use its URL as the source"
            )
        source = self._source
        templates = [*source.headers.values(), *source.params.values(), source.basic_auth or ""]
        names = sorted({name for template in templates for name in references(template)})
        if not names:
            return "No credentials were sent: pass --header 'Authorization: Bearer $TOKEN'"
        return f"Check {', '.join(f'${name}' for name in names)}"
