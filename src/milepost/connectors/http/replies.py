"""Judges a reply: what the caller must do about it, not what it looked like."""

import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import msgspec
from pydantic_core import from_json

from milepost.errors import (
    AuthenticationRefused,
    ConnectorError,
    FatalConnectorError,
    NothingThere,
    RetryableConnectorError,
)

# Request Timeout, Too Early, Too Many Requests: the request itself was fine.
_AGAIN = frozenset({408, 425, 429})
_NOT_THERE = frozenset({404, 410})
_EPOCH_AFTER = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a server. `url` is where it came from, after redirects."""

    url: str
    status: int
    headers: Mapping[str, str]
    """Whatever the case of their names."""
    link: str
    """All Link headers in one."""
    body: bytes
    strayed: bool = False
    """It came after a redirect to another origin, so it was asked without credentials."""

    @property
    def is_good(self) -> bool:
        """Whether its status says that all is well."""
        return 200 <= self.status < 300  # noqa: PLR2004


def refusal(reply: Reply, what: str, excerpt: str) -> ConnectorError:
    """Turn a bad status into the error that it is."""
    status = reply.status
    said = f"{what}: {status} {_phrase(status)}"
    after = retry_after(reply.headers)
    exhausted = reply.headers.get("X-RateLimit-Remaining") == "0" or "Retry-After" in reply.headers
    if status in _AGAIN or status >= 500 or (status == 403 and exhausted):  # noqa: PLR2004
        return RetryableConnectorError(said, retry_after=after)
    if status in {401, 403}:
        return AuthenticationRefused(f"{said}: {excerpt}" if excerpt else said)
    kind = NothingThere if status in _NOT_THERE else FatalConnectorError
    return kind(f"{said}: {excerpt}" if excerpt else said, status=status)


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Read how long the server wants us to wait: Retry-After (RFC 9110) or a rate limit's reset."""
    given = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", given):
        return timedelta(seconds=float(given))
    if given:
        moment = moment_of(given)
        # Both clocks are the server's, so that ours may be wrong.
        now = moment_of(headers.get("Date", "")) or datetime.now(UTC)
        if moment is not None:
            return max(moment - now, timedelta(0))
    for name in ("RateLimit-Reset", "X-RateLimit-Reset"):
        reset = headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,10}", reset) and headers.get(_remaining(name), "0") == "0":
            seconds = int(reset)
            if seconds >= _EPOCH_AFTER:
                seconds = max(seconds - int(datetime.now(UTC).timestamp()), 0)
            return timedelta(seconds=seconds)
    return None


def decode(reply: Reply, what: str) -> Any:
    """Read the JSON of a good reply.

    Raises RetryableConnectorError if it stops in the middle, FatalConnectorError if it is
    something else.
    """
    if reply.status == HTTPStatus.NO_CONTENT:
        return []
    if not reply.body.strip():
        raise FatalConnectorError(f"{what}: the reply is empty, not JSON")
    body = reply.body.removeprefix(codecs.BOM_UTF8)
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    try:
        # It takes what is no JSON and yet common: NaN, Infinity, half a surrogate pair. The records
        # that have it are to be kept, and not to stop the others.
        return json.loads(body)
    except (ValueError, RecursionError):
        problem = _problem(body)
    kind = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if "html" in kind or reply.body.lstrip()[:1] == b"<":
        raise FatalConnectorError(
            f"{what}: the reply is HTML, not JSON. Is this a page for people, or a login page? "
            "Give the URL of the API"
        )
    if problem.startswith("EOF"):
        raise RetryableConnectorError(f"{what}: the reply stops in the middle")
    raise FatalConnectorError(f"{what}: the reply is not JSON ({kind or 'no type'}): {problem}")


def _problem(body: bytes) -> str:
    """Say what is wrong with JSON that nobody can read; begins with EOF where it was cut off."""
    try:
        from_json(body, allow_inf_nan=False)
    except ValueError as error:
        return str(error)
    return "it nests too deep"


def excerpt_of(body: bytes) -> str:
    """Take the start of a body, as text on one line; hide secrets in it before it is cut."""
    return " ".join(body[:4000].decode("utf-8", "replace").split())


def moment_of(text: str) -> datetime | None:
    """Read the moment of a header; None where there is none."""
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _remaining(reset: str) -> str:
    return reset.removesuffix("Reset") + "Remaining"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
