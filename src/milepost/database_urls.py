"""Names of databases: a URL, or the path of a SQLite file. Checked before anything connects."""

import re
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from milepost.errors import DatabaseUrlInvalid

TAKES: Final = "sqlite:///FILE, the path of a SQLite file, or postgresql://USER@HOST/DATABASE"
PORTS: Final = range(1, 65_536)


def parse_url(text: str) -> URL:
    """Read a database URL, or the path of a SQLite file. Raises DatabaseUrlInvalid."""
    if "://" not in text:
        url = URL.create("sqlite", database=str(Path(text).expanduser()))
    else:
        url = _parse(text)
    if url.drivername == "sqlite":
        check_file(url)
    return url


def check_file(url: URL) -> None:
    """Refuse a SQLite without a file. Raises DatabaseUrlInvalid."""
    if url.database in (None, "", ":memory:"):
        raise DatabaseUrlInvalid(
            url.database or "sqlite://",
            "a file, sqlite:///FILE: an in-memory SQLite has one connection",
        )


def check_folder(url: URL) -> None:
    """Refuse a SQLite file that cannot be made, by name: SQLite itself does not name it.

    Raises DatabaseUrlInvalid.
    """
    if url.get_backend_name() != "sqlite" or url.database is None:
        return
    folder = Path(url.database).parent
    if not folder.is_dir():
        raise DatabaseUrlInvalid(url.database, f"a file in a folder that exists; {folder} is none")


def hide_password(text: str) -> str:
    """Put `***` in the place of a password, also in a URL that cannot be read."""
    text = re.sub(r"(://[^:@/]*:).*@", r"\1***@", text)
    return re.sub(r"(password=)[^&]*", r"\1***", text)


def _parse(text: str) -> URL:
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError):
        raise DatabaseUrlInvalid(hide_password(text), TAKES) from None
    except ValueError:
        raise _bad_port(text) from None
    if backend == "sqlite":
        return url.set(drivername="sqlite")
    if backend not in ("postgresql", "postgres"):
        raise DatabaseUrlInvalid(hide_password(text), TAKES)
    if url.port is not None and url.port not in PORTS:
        raise _bad_port(text)
    return url.set(drivername="postgresql+psycopg")


def _bad_port(text: str) -> DatabaseUrlInvalid:
    return DatabaseUrlInvalid(
        hide_password(text), f"a port from {PORTS.start} to {PORTS.stop - 1} after the host"
    )
