"""Stored connections: sources by name, their credentials and tokens encrypted in the store."""

from milepost.connections.cipher import Cipher, make_key
from milepost.connections.connections import Connection, Connections, Listed, names_in
from milepost.connections.keyring import Keyring
from milepost.connections.tokens import StoredTokens

__all__ = [
    "Cipher",
    "Connection",
    "Connections",
    "Keyring",
    "Listed",
    "StoredTokens",
    "make_key",
    "names_in",
]
