"""One request after another: limits, redirects, credentials for one origin only."""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urljoin, urlsplit

import aiohttp

from milepost.connectors.http.credentials import Credentials
from milepost.connectors.http.pace import Pace
from milepost.connectors.http.replies import Reply, decode, excerpt_of, refusal
from milepost.connectors.http.source import HttpSource
from milepost.connectors.http.urls import origin, with_params, without_params
from milepost.connectors.kinds import Access
from milepost.connectors.secrets import references
from milepost.connectors.tokens import Token
from milepost.errors import AuthenticationRefused, FatalConnectorError, RetryableConnectorError

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# These ask for the same again, elsewhere; after the others only a GET may follow.
_SAME_AGAIN = frozenset({307, 308})
_MAX_REDIRECTS = 5
_MAX_ERROR_BYTES = 64 * 1024
_EXCERPT = 200
_ANYONE: Mapping[str, str] = {"Accept": "application/json", "User-Agent": "milepost"}
_UNAUTHORIZED: Final = 401


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: a URL without the secret parameters, and for a POST its JSON."""

    url: str
    body: Any = None
    method: str = "GET"


class HttpClient:
    """Asks one source. Opens its session with the first request, keeps its connections alive."""

    def __init__(self, source: HttpSource, access: Access) -> None:
        self._source = source
        self._secrets = secrets = access.secrets
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._headers = {**_ANYONE, **self._revealed(source.headers)}
        if source.basic_auth is not None:
            self._headers["Authorization"] = secrets.basic_auth(source.basic_auth)
        home = origin(secrets.reveal_url(source.url))
        self._credentials = Credentials(
            source.auth, secrets, access.tokens, self._post, origin=home
        )
        self._templates = {**source.params, **self._credentials.params}
        self.params = self._revealed(self._templates)
        for name, value in self.params.items():
            secrets.conceal(f"{name}={value}", self._templates[name])
        self._secret_params = {
            name: self.params[name] for name, value in self._templates.items() if references(value)
        }
        self.pace = Pace(
            access.budgets, self._budget_key(home), source.budget,
            sleep=access.sleep, on_wait=access.on_wait, wait_at_most=source.wait_at_most,
        )  # fmt: skip
        self._home = home

    def _budget_key(self, home: object) -> str:
        """Tell by whom a source is asked, whichever way that is said."""
        said = [sorted(self._headers.items()), sorted(self._secret_params.items())]
        text = json.dumps([str(home), self._credentials.key, said])
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]

    async def ask(self, request: Request) -> tuple[Reply, Any]:
        """Ask once, and decode the JSON. Secret parameters and credentials are added here.

        Raises the ConnectorError that says what to do; its text holds no secrets.
        """
        async with self.named_errors(request.url), self.opened(request) as (response, at, strayed):
            reply = await self.reply_of(response, at, strayed=strayed)
        self.refuse(reply, request.url)
        return reply, decode(reply, self._what(reply, request.url))

    @asynccontextmanager
    async def opened(
        self, request: Request, more: Mapping[str, str] | None = None
    ) -> AsyncIterator[tuple[aiohttp.ClientResponse, str, bool]]:
        """Ask, with more headers; yields the response, its URL, and whether that has strayed.

        Redirects are followed, with credentials only as long as they stay at the same origin. With
        a token that is refused it asks for another one first.
        """
        async with self._followed(request, more or {}) as (response, at, strayed, token):
            refused = response.status == _UNAUTHORIZED and not strayed
            if not (refused and await self._credentials.renew(token)):
                yield response, at, strayed
                return
        async with self._followed(request, more or {}) as (response, at, strayed, _):
            yield response, at, strayed

    def refuse(self, reply: Reply, url: str) -> None:
        """Raise the ConnectorError that says what to do about a reply that is none of success."""
        if reply.is_good:
            return
        what = self._what(reply, url)
        excerpt = self._secrets.hide(excerpt_of(reply.body))[:_EXCERPT]
        refused = refusal(reply, what, excerpt)
        if isinstance(refused, AuthenticationRefused):
            raise AuthenticationRefused(f"{refused}. {self._advice(strayed=reply.strayed)}")
        raise refused

    async def reply_of(self, response: aiohttp.ClientResponse, url: str, *, strayed: bool) -> Reply:
        """Read a response to its end, or as much of it as says why it is an error."""
        return Reply(
            url=url,
            status=response.status,
            headers=response.headers,
            link=", ".join(response.headers.getall("Link", ())),
            body=await self._read(response, url),
            strayed=strayed,
        )

    async def _post(
        self,
        template: str,
        *,
        form: Mapping[str, str] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send credentials, and nothing else, to where tokens come from."""
        url = self._secrets.reveal_url(template)

        at_home = origin(url) == self._home
        if at_home:
            await self.pace.turn()
        async with (
            self.named_errors(url),
            self._opened().post(
                url,
                data=form,
                json=json,
                headers={**_ANYONE, **(headers or {})},
                allow_redirects=False,
            ) as response,
        ):
            if at_home:
                await self.pace.heed(response.status, response.headers)
            reply = await self.reply_of(response, url, strayed=False)
        what = self._secrets.hide(url)
        if reply.is_good:
            return decode(reply, what)
        # It repeats what it was sent, in some APIs.
        refused = refusal(reply, what, "")
        if isinstance(refused, FatalConnectorError | AuthenticationRefused):
            raise AuthenticationRefused(
                f"{refused}: it gave no token. {self._advice(strayed=False)}"
            )
        raise refused

    @asynccontextmanager
    async def named_errors(self, url: str) -> AsyncIterator[None]:
        """Turn what asking for a URL raises into the ConnectorError that says what to do."""
        try:
            yield
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

    def show(self, url: str) -> str:
        """Write a URL for people, without secrets."""
        shown = without_params(url, self._secret_params)
        for name in self._secret_params:
            # Short values are not hidden by themselves; a parameter that holds one is.
            shown += f"{'&' if '?' in shown else '?'}{name}={self._templates[name]}"
        return self._secrets.hide(shown)

    def without_secret_params(self, url: str) -> str:
        """Drop the parameters that `ask` adds again, and a token that the source repeats.

        Raises FatalConnectorError where the URL holds it in another place: it would be stored.
        """
        bare = without_params(url, self._secret_params)
        token = self._credentials.given
        if token is None:
            return bare
        said = [name for name, value in parse_qsl(urlsplit(bare).query) if value == token]
        bare = without_params(bare, said)
        if token in unquote(bare):
            raise FatalConnectorError(
                "the URL of the next page holds the access token, and must not be stored: choose "
                "another way with --pagination"
            )
        return bare

    async def aclose(self) -> None:
        """Close the session; safe to call twice."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def _followed(
        self, request: Request, more: Mapping[str, str]
    ) -> AsyncIterator[tuple[aiohttp.ClientResponse, str, bool, Token | None]]:
        url = with_params(request.url, self._secret_params)
        home, strayed = origin(url), False
        for _ in range(_MAX_REDIRECTS + 1):
            # Before the token is looked up: it may change while this waits.
            await self.pace.turn()
            carried, token = await self._credentials.headers()
            # Once away from home, even a way back is the choice of a stranger.
            headers = {**(_ANYONE if strayed else {**self._headers, **carried}), **more}
            async with self._opened().request(
                request.method, url, headers=headers, json=request.body, allow_redirects=False
            ) as response:
                await self.pace.heed(response.status, response.headers)
                target = response.headers.get("Location")
                if response.status not in _REDIRECTS or target is None:
                    yield response, url, strayed, token
                    return
            target = urljoin(url, target)
            if urlsplit(target).scheme not in {"http", "https"}:
                raise FatalConnectorError(f"{self.show(url)} redirects to another protocol")
            strayed = strayed or origin(target) != home
            if request.method != "GET" and (strayed or response.status not in _SAME_AGAIN):
                raise FatalConnectorError(
                    f"{self.show(url)} redirects a {request.method} to {self.show(target)}: "
                    "use that as the source if it is right"
                )
            if strayed:
                url = without_params(target, self._templates)
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

    def _what(self, reply: Reply, url: str) -> str:
        what = self.show(url)
        if reply.strayed:
            what += f" (redirected to {self._secrets.hide(reply.url)})"
        return what

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
        if source.auth is not None:
            templates += map(str, asdict(source.auth).values())
        names = sorted({name for template in templates for name in references(template)})
        if not names:
            return "No credentials were sent: pass --header 'Authorization: Bearer $TOKEN'"
        return f"Check {', '.join(f'${name}' for name in names)}"
