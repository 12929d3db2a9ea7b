"""What the end of a program means for its reader."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from milepost.errors import (
    AuthenticationRefused,
    ConnectorError,
    FatalConnectorError,
    RetryableConnectorError,
)

# Earlier lines tell of tries that went well in the end.
_LAST_WORDS: Final = 5
_SHOWN: Final = 8

_REFUSED: Final = re.compile(
    r"\b401\b|\b403\b|unauthori[sz]ed|forbidden|invalid[_ ](client|grant|token|credentials?)"
    r"|(authentication|login) (failed|error)|access denied|bad credentials",
    re.IGNORECASE,
)
_TOO_MANY: Final = re.compile(r"\b429\b|too many requests|rate.?limit", re.IGNORECASE)
_AFTER: Final = re.compile(r"retry.?after\D{0,12}(\d{1,6})\b", re.IGNORECASE)
_WRONG: Final = re.compile(
    r"^usage: |unrecognized arguments|missing required (keys|config)|required property"
    r"|ModuleNotFoundError|ImportError|JSONDecodeError|config validation (failed|error)",
    re.IGNORECASE | re.MULTILINE,
)
_NO_SUCH_PROGRAM: Final = (126, 127)
_WHEN_NOBODY_SAYS: Final = timedelta(minutes=1)


def said_at_end(program: str, code: int, lines: Sequence[str]) -> ConnectorError:
    """Judge a program that ended with an exit code other than 0, by its last words on stderr.

    `lines` hold no secrets.
    """
    # The guard says by more than 128 which signal ended the program, the kernel by less than 0
    # which one ended the guard.
    number = -code if code < 0 else code - 128
    how = f"was killed by signal {number}" if number > 0 else f"ended with exit code {code}"
    shown = " | ".join(lines[-_SHOWN:]) or "it said nothing"
    message = f"{program} {how}: {shown}"
    last = "\n".join(lines[-_LAST_WORDS:])
    wait = put_off_for(last)
    if wait is not None:
        return RetryableConnectorError(message, retry_after=wait)
    if is_refusal(last):
        return AuthenticationRefused(message)
    if code in _NO_SUCH_PROGRAM or _WRONG.search("\n".join(lines[-_SHOWN:])):
        return FatalConnectorError(message)
    return RetryableConnectorError(message)


def put_off_for(said: str) -> timedelta | None:
    """Find how long a source wants to be left alone; None where it does not."""
    if not _TOO_MANY.search(said):
        return None
    named = _AFTER.search(said)
    after = timedelta(seconds=int(named[1])) if named else _WHEN_NOBODY_SAYS
    return max(after, timedelta(seconds=1))


def is_refusal(said: str) -> bool:
    """Whether a source says that it does not accept the credentials."""
    return _REFUSED.search(said) is not None
