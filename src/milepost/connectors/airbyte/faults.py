"""What an error of Airbyte's means for its reader."""

import re
from typing import Final

from milepost.connectors.airbyte.messages import ErrorSaid
from milepost.connectors.programs.exits import is_refusal, put_off_for
from milepost.errors import (
    AuthenticationRefused,
    ConnectorError,
    FatalConnectorError,
    RetryableConnectorError,
)

_SHOWN: Final = 300
# It calls replies that no config could mend errors of the system, as it does its own bugs.
_WRONG_REQUEST: Final = re.compile(r"status code:? '?4\d\d\b", re.IGNORECASE)
# All of the request and of the reply follows, which the log has.
_LONG: Final = " Request (body):"
_NO_SPEC: Final = "Unable to find spec"


def error_of(manifest: str, said: ErrorSaid) -> ConnectorError:
    """Judge an error by the kind that Airbyte says, and by its words. `said` holds no secrets."""
    words = f"{said.message}\n{said.detail}"
    if _NO_SPEC in words:
        return FatalConnectorError(f"{manifest}: the manifest has no spec, which says its config")
    detail = said.detail.partition(_LONG)[0]
    shown = said.message if detail in said.message else f"{said.message} ({detail})"
    if len(shown) > _SHOWN:
        shown = f"{shown[:_SHOWN]}…"
    message = f"{manifest}: {shown}"
    passes = said.failure == "transient_error"
    # Of other errors the details may hold any number, 429 too.
    wait = put_off_for(words if passes else said.message)
    if passes or wait is not None:
        return RetryableConnectorError(message, retry_after=wait)
    if is_refusal(words):
        return AuthenticationRefused(message)
    if said.failure != "system_error" or _WRONG_REQUEST.search(words):
        return FatalConnectorError(message)
    return RetryableConnectorError(message)
