"""Empty stores for tests: copies of one that was migrated, which is made faster than each anew."""

import contextlib
import shutil
import sqlite3
from pathlib import Path
from uuid import uuid4

from sqlalchemy import make_url

from milepost import open_database
from milepost.store import schema
from tests.servers import PostgresServer


class Stores:
    """Makes empty stores, each with an id of its own."""

    def __init__(self, folder: Path) -> None:
        self._sqlite = folder / "store.db"
        self._postgres: dict[int, str] = {}

    def sqlite(self, path: Path) -> str:
        """Make a store in a file; returns its URL."""
        if not self._sqlite.exists():
            _migrate(f"sqlite:///{self._sqlite}")
        shutil.copy(self._sqlite, path)
        with contextlib.closing(sqlite3.connect(path)) as conn, conn:
            conn.execute(_new_id())
        return f"sqlite:///{path}"

    def postgres(self, server: PostgresServer) -> str:
        """Make a store in a database of its own; returns its URL."""
        if server.port not in self._postgres:
            url = server.create_database()
            _migrate(url)
            self._postgres[server.port] = str(make_url(url).database)
        return server.create_database(like=self._postgres[server.port], then=_new_id())


def _migrate(url: str) -> None:
    database = open_database(url)
    schema.migrate(database)
    database.close()


def _new_id() -> str:
    return f"UPDATE milepost_store SET id = '{uuid4()}'"
