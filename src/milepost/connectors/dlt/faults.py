"""What an error of a source means for its reader."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import requests
from dlt.common.configuration.exceptions import ConfigurationException

from milepost.errors import (
    AuthenticationRefused,
    ConnectorError,
    FatalConnectorError,
    RetryableConnectorError,
)

_LONGEST: Final = 500
_WHEN_NOBODY_SAYS: Final = timedelta(minutes=1)
_SERVER_AT_FAULT: Final = 500


def meaning_of(error: Exception, where: str) -> ConnectorError:
    """Judge an error by what caused it; the text may still hold secrets."""
    causes = list(_causes(error))
    root = causes[-1]
    said = " ".join(str(root).split())[:_LONGEST]
    message = f"{where}: {type(root).__name__}: {said}"
    for each in causes:
        match each:
            case ConnectorError():
                return each
            case requests.HTTPError(response=requests.Response() as reply):
                return _of_reply(reply, message)
            case ConfigurationException() | ImportError():
                return FatalConnectorError(message)
            case _:
                pass
    return RetryableConnectorError(message)


def _of_reply(reply: requests.Response, message: str) -> ConnectorError:
    match reply.status_code:
        case 401 | 403:
            return AuthenticationRefused(message)
        case 429:
            named = reply.headers.get("Retry-After", "")
            after = timedelta(seconds=int(named)) if named.isdigit() else _WHEN_NOBODY_SAYS
            return RetryableConnectorError(message, retry_after=max(after, timedelta(seconds=1)))
        case status if status < _SERVER_AT_FAULT:
            return FatalConnectorError(message)
        case _:
            return RetryableConnectorError(message)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__
