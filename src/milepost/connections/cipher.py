"""Encrypts what the store keeps, and says in one sentence why it cannot be read."""

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from milepost.errors import SecretKeyUnfit

# Of a Fernet token, as https://github.com/fernet/spec has it: version, time, IV, a block, HMAC.
VERSION: Final = 0x80
SHORTEST: Final = 1 + 8 + 16 + 16 + 32
KEY_SIZE: Final = 32


class Cipher:
    """Fernet keys: the first encrypts, all decrypt. `origin` says where they came from."""

    def __init__(self, keys: Sequence[str], *, origin: str) -> None:
        # It brings OpenSSL along, and most commands never need it.
        from cryptography.fernet import Fernet, MultiFernet

        for number, key in enumerate(keys, start=1):
            if not _is_key(key):
                which = f"key {number} in {origin}" if len(keys) > 1 else f"what {origin} holds"
                raise SecretKeyUnfit(
                    f"{which} is no Fernet key, which is 44 letters and digits that end in '=': "
                    "`milepost connections key` makes one"
                )
        self.origin = origin
        self._first = Fernet(keys[0])
        self._all = MultiFernet([Fernet(key) for key in keys])

    def encrypt(self, text: str) -> str:
        """Encrypt with the first key."""
        return self._first.encrypt(text.encode("utf-8", "surrogateescape")).decode()

    def decrypt(self, stored: str, *, what: str) -> str:
        """Decrypt with whichever key fits. Raises SecretKeyUnfit that names `what`."""
        from cryptography.fernet import InvalidToken

        try:
            return self._all.decrypt(stored).decode("utf-8", "surrogateescape")
        except InvalidToken:
            pass
        if not is_token(stored):
            raise SecretKeyUnfit(
                f"{what} cannot be decrypted: the row is damaged, whatever the key. Take it from "
                "a backup, or give the credentials again with `milepost connections add --replace`"
            )
        raise SecretKeyUnfit(
            f"{what} cannot be decrypted with the key of {self.origin}: it was encrypted with "
            "another one, or damaged. Nothing is lost: give that key too, behind the new one "
            "(MILEPOST_SECRET_KEY=new,old)"
        )

    def is_newest(self, stored: str) -> bool:
        """Whether the first key has encrypted it."""
        from cryptography.fernet import InvalidToken

        try:
            self._first.decrypt(stored)
        except InvalidToken:
            return False
        return True


def make_key() -> str:
    """Make a new key."""
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, altchars=b"-_", validate=True)) == KEY_SIZE
    except (binascii.Error, ValueError):
        return False


def is_token(text: str) -> bool:
    """Whether a text has the form of what a cipher gives, whatever the key."""
    try:
        octets = base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(octets) >= SHORTEST and octets[0] == VERSION
