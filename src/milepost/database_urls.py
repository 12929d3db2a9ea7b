"""Names of databases: a URL, or the path of a file. Checked before anything connects."""

import re
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from milepost.errors import DatabaseUrlInvalid

TAKES: Final = (
    "sqlite:///FILE, duckdb:///FILE, the path of such a file, or postgresql://USER@HOST/DATABASE"
)
STORE_TAKES: Final = "sqlite:///FILE, the path of a SQLite file, or postgresql://USER@HOST/DATABASE"
DUCKDB: Final = "duckdb"
_DUCKDB_SUFFIXES: Final = frozenset({".duckdb", ".ddb"})
FILES: Final = frozenset({"sqlite", DUCKDB})
"""What is a file, and not a server."""
PORTS: Final = range(1, 65_536)


def parse_url(text: str, *, takes: str = TAKES) -> URL:
    """Read a database URL, or the path of a file: of DuckDB if it ends so, otherwise of SQLite.

    Raises DatabaseUrlInvalid.
    """
    if "://" not in text:
        path = Path(text).expanduser()
        url = URL.create(
            DUCKDB if path.suffix in _DUCKDB_SUFFIXES else "sqlite", database=str(path)
        )
    else:
        url = _parse(text, takes)
    if url.drivername in FILES:
        check_file(url)
    return url


def parse_store_url(text: str) -> URL:
    """Read the URL of a job store, to which many processes write. Raises DatabaseUrlInvalid."""
    url = parse_url(text, takes=STORE_TAKES)
    if url.drivername == DUCKDB:
        raise DatabaseUrlInvalid(
            text, f"{STORE_TAKES}; DuckDB is for snapshots: one process at a time has its file"
        )
    return url


def check_file(url: URL) -> None:
    """Refuse a database in memory, which has one connection. Raises DatabaseUrlInvalid."""
    if url.database in (None, "", ":memory:"):
        raise DatabaseUrlInvalid(
            url.database or f"{url.drivername}://",
            f"a file, {url.drivername}:///FILE: a database in memory has one connection",
        )


def check_folder(url: URL) -> None:
    """Refuse a file that cannot be made, by name: SQLite itself does not name it.

    Raises DatabaseUrlInvalid.
    """
    if url.drivername not in FILES or url.database is None:
        return
    folder = Path(url.database).parent
    if not folder.is_dir():
        raise DatabaseUrlInvalid(url.database, f"a file in a folder that exists; {folder} is none")


def hide_password(text: str) -> str:
    """Put `***` in the place of a password, also in a URL that cannot be read."""
    text = re.sub(r"(://[^:@/]*:).*@", r"\1***@", text)
    return re.sub(r"(password=)[^&]*", r"\1***", text)


def _parse(text: str, takes: str) -> URL:
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError):
        raise DatabaseUrlInvalid(hide_password(text), takes) from None
    except ValueError:
        raise _bad_port(text) from None
    if backend in FILES:
        return url.set(drivername=backend)
    if backend not in ("postgresql", "postgres"):
        raise DatabaseUrlInvalid(hide_password(text), takes)
    if url.port is not None and url.port not in PORTS:
        raise _bad_port(text)
    return url.set(drivername="postgresql+psycopg")


def _bad_port(text: str) -> DatabaseUrlInvalid:
    return DatabaseUrlInvalid(
        hide_password(text), f"a port from {PORTS.start} to {PORTS.stop - 1} after the host"
    )
