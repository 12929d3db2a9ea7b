"""What each request carries so that the source knows who asks."""

import base64
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any, Final, assert_never

from milepost.connectors.http.auth import (
    ApiKey,
    Auth,
    Basic,
    Bearer,
    ClientCredentials,
    RefreshToken,
    Session,
)
from milepost.connectors.secrets import Secrets
from milepost.connectors.tokens import Token, Tokens
from milepost.errors import AuthenticationRefused, FatalConnectorError

# A token is renewed so long before it expires, in seconds, or it expires on the way.
EARLY: Final = 30.0

Post = Callable[..., Awaitable[Any]]
"""Sends a POST to a URL outside of the tables (`form`, `json`, `headers`); decodes the reply."""


class Credentials:
    """The headers and parameters of one source's requests, static or by a token that is renewed."""

    def __init__(
        self, auth: Auth | None, secrets: Secrets, tokens: Tokens, post: Post, *, origin: object
    ) -> None:
        self._auth = auth
        self._secrets = secrets
        self._tokens = tokens
        self._post = post
        self._static, self.params = self._fixed(auth)
        self.key = self._key(auth, origin)
        self.given: str | None = None
        """The newest token that was sent."""

    async def headers(self) -> tuple[Mapping[str, str], Token | None]:
        """What the next request carries, and the token in it."""
        match self._auth:
            case ClientCredentials() | RefreshToken() | Session():
                token = await self._tokens.current(self.key)
                if token is None or _is_old(token):
                    token = await self._tokens.renew(self.key, token, self._fetch)
                return self._carried(token), token
            case _:
                return self._static, None

    async def renew(self, refused: Token | None) -> bool:
        """After a refusal of a token: whether there is another one, and a request may succeed."""
        if refused is None:
            return False
        return await self._tokens.renew(self.key, refused, self._fetch) != refused

    def _carried(self, token: Token) -> Mapping[str, str]:
        self._secrets.conceal(token.value, "$ACCESS_TOKEN")
        self.given = token.value
        if isinstance(self._auth, Session):
            return {self._auth.header: self._auth.prefix + token.value}
        return {"Authorization": f"Bearer {token.value}"}

    def _fixed(self, auth: Auth | None) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """The headers, with their values, and the parameters, as templates."""
        reveal = self._secrets.reveal
        match auth:
            case Bearer():
                return {"Authorization": f"{auth.scheme} {reveal(auth.token)}"}, {}
            case Basic():
                login = self._secrets.basic_auth(f"{auth.user}:{auth.password}")
                return {"Authorization": login}, {}
            case ApiKey(into="header"):
                return {auth.name: reveal(auth.value)}, {}
            case ApiKey():
                return {}, {auth.name: auth.value}
            case ClientCredentials() | RefreshToken() | Session() | None:
                return {}, {}
            case _:
                assert_never(auth)

    def _key(self, auth: Auth | None, origin: object) -> str:
        """Tell one set of credentials at one origin from another, without giving any away."""
        described = revealed(asdict(auth), self._secrets.reveal) if auth else None
        text = json.dumps([str(origin), described], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]

    async def _fetch(self, before: Token | None) -> Token:
        """Ask for a token. Raises AuthenticationRefused where the source gives none."""
        match self._auth:
            case ClientCredentials() as auth:
                form = {"grant_type": "client_credentials"}
                return await self._oauth(auth, form)
            case RefreshToken() as auth:
                newest = before.refresh_token if before else None
                form = {
                    "grant_type": "refresh_token",
                    "refresh_token": newest or self._secrets.reveal(auth.refresh_token),
                }
                got = await self._oauth(auth, form)
                return Token(got.value, got.expires_at, got.refresh_token or newest)
            case Session() as auth:
                return await self._login(auth)
            case _:
                raise AssertionError("these credentials need no token")

    async def _oauth(self, auth: ClientCredentials | RefreshToken, form: dict[str, str]) -> Token:
        reveal = self._secrets.reveal
        headers: dict[str, str] = {}
        client, secret = reveal(auth.client_id), reveal(auth.client_secret or "")
        if auth.client_in == "header":
            login = base64.b64encode(f"{client}:{secret}".encode("utf-8", "surrogateescape"))
            headers["Authorization"] = f"Basic {login.decode()}"
        else:
            form |= {"client_id": client} | ({"client_secret": secret} if secret else {})
        if auth.scope:
            form["scope"] = auth.scope
        form |= {name: reveal(value) for name, value in auth.params.items()}
        reply = await self._post(auth.token_url, form=form, headers=headers)
        token = reply.get("access_token") if isinstance(reply, dict) else None
        if not isinstance(token, str) or not token:
            raise AuthenticationRefused(
                f"{auth.token_url} gave no access_token; check the client and its secret"
            )
        expires = reply.get("expires_in")
        newer = reply.get("refresh_token")
        lasts = float(expires) if isinstance(expires, int | float | str) and expires else None
        return Token(
            token,
            None if lasts is None else time.time() + lasts,
            newer if isinstance(newer, str) else None,
        )

    async def _login(self, auth: Session) -> Token:
        reply = await self._post(auth.login_url, json=revealed(auth.body, self._secrets.reveal))
        found = reply
        for key in auth.token_path.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if not isinstance(found, str) or not found:
            raise FatalConnectorError(
                f"the login at {auth.login_url} gave no {auth.token_path!r}: mend token_path"
            )
        return Token(found)


def _is_old(token: Token) -> bool:
    return token.expires_at is not None and token.expires_at - EARLY <= time.time()


def revealed(value: Any, reveal: Callable[[str], str]) -> Any:
    """Put the values into every text of a JSON value."""
    match value:
        case str():
            return reveal(value)
        case dict():
            return {key: revealed(inner, reveal) for key, inner in value.items()}
        case list():
            return [revealed(inner, reveal) for inner in value]
        case _:
            return value
