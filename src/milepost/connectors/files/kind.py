"""Sources that are files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from milepost.connectors.connector import Connector
from milepost.connectors.files.addresses import is_file_url, is_http, is_remote, scheme_of
from milepost.connectors.files.source import FileSource
from milepost.connectors.kinds import Access, Kind
from milepost.errors import FatalConnectorError

FORCED: Final = "file:"
# Of which fsspec may know some, but a row of a database is no line of a file.
_DATABASES: Final = frozenset({"postgresql", "postgres", "mysql", "mariadb", "sqlite"})


def _describe(address: str, tables: Sequence[str]) -> dict[str, Any] | None:
    """Read a path, a pattern or a URL; `file:` before it says that it is no other kind's.

    Whatever no other kind knows is a path, so this kind comes last.
    """
    forced = address.startswith(FORCED) and not address.startswith("file://")
    path = address.removeprefix(FORCED) if forced else address
    if not forced and not _is_ours(address):
        return None
    if len(tables) > 1 or any("=" in table for table in tables):
        raise FatalConnectorError(
            f"{path} holds one table, and --table may name it; for a table of each file of a "
            "pattern set table_per_file"
        )
    if not is_remote(path):
        path = str(Path(path.removeprefix("file://")).expanduser())
    return {"path": path, "table": tables[0] if tables else None}


def _is_ours(address: str) -> bool:
    scheme = scheme_of(address)
    if is_http(address):
        return is_file_url(address)
    if scheme in {"", "file"}:
        return not address.startswith("$")
    return scheme.partition("+")[0] not in _DATABASES and _is_known(scheme)


def _is_known(scheme: str) -> bool:
    try:
        from fsspec.registry import known_implementations, registry
    except ImportError:
        # It may be one: opening it says what to install.
        return True
    return scheme in known_implementations or scheme in registry


def _open(source: FileSource, access: Access) -> Connector:
    # Not before: the HTTP client that comes with it takes a tenth of a second to import.
    from milepost.connectors.files.connector import FileConnector

    return FileConnector(source, access)


KIND = Kind(name="file", source=FileSource, describe=_describe, open=_open)
