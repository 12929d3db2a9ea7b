"""Posts messages as the Standard Webhooks specification has it: signed, with an id and a time."""

import asyncio
import base64
import hashlib
import hmac
import importlib
import time
from typing import Final

from pydantic_core import to_json

from milepost.notifiers.addresses import Address, key_of
from milepost.notifiers.messages import Message
from milepost.notifiers.refusals import NotTaken

ANSWER_WITHIN: Final = 20.0  # seconds
TYPE: Final = "milepost.notices"
LONGEST_RETRY_AFTER: Final = 3600.0


async def post(address: Address, message: Message) -> None:
    """Post a message. Raises NotTaken where no answer says that it was taken."""
    # Most programs never need it, and who waits for the import here has other things to do.
    await asyncio.to_thread(importlib.import_module, "aiohttp")
    import aiohttp

    body = to_json({"type": TYPE, "timestamp": message.at, "data": message.as_json()})
    headers = {
        "content-type": "application/json",
        "user-agent": "milepost",
        "webhook-id": message.id,
        "webhook-timestamp": str(int(time.time())),
    }
    if address.secret is not None:
        headers["webhook-signature"] = sign(
            key_of(address.secret), message.id, headers["webhook-timestamp"], body
        )
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_WITHIN)) as session,
            # Whoever answers elsewhere was not meant.
            session.post(address.url, data=body, headers=headers, allow_redirects=False) as reply,
        ):
            status, retry_after = reply.status, _seconds(reply.headers.get("retry-after"))
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise NotTaken(f"{address.shown}: {_said(error, address)}") from None
    if not 200 <= status < 300:  # noqa: PLR2004 (HTTP)
        raise NotTaken(f"{address.shown} answered {status}", retry_after=retry_after)


def sign(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """Sign what is posted; the receiver makes the same of what it got, and compares."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _said(error: Exception, address: Address) -> str:
    """Say what was wrong; an error may quote the address, which is a secret."""
    return str(error).replace(address.url, address.shown) or type(error).__name__


def _seconds(retry_after: str | None) -> float | None:
    if retry_after is None or not retry_after.isdecimal():
        return None
    return min(float(retry_after), LONGEST_RETRY_AFTER)
