"""URLs as text: only the named parts change, the rest stays as the server wrote it."""

from collections.abc import Collection, Mapping
from urllib.parse import SplitResult, quote, unquote_plus, urlsplit, urlunsplit

from milepost.errors import FatalConnectorError

_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin(url: str) -> tuple[str, str, int | None]:
    """Name the party that answers a URL: scheme, host and port.

    Raises ValueError for a port that is no number.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(scheme)


def with_params(url: str, params: Mapping[str, str]) -> str:
    """Set query parameters, in place of those of the same name."""
    if not params:
        return url
    added = [f"{quote(name, safe='$')}={_quoted(value)}" for name, value in params.items()]
    parts = urlsplit(url)
    return _with_query(parts, [*_other_pairs(parts.query, params), *added])


def without_params(url: str, names: Collection[str]) -> str:
    """Drop the query parameters of these names."""
    parts = urlsplit(url)
    return _with_query(parts, _other_pairs(parts.query, names)) if names else url


def with_path(url: str, path: str) -> str:
    """Append a path, which may have a query of its own."""
    if not path:
        return url
    parts = urlsplit(url)
    added, _, query = path.partition("?")
    longer = parts.path.rstrip("/") + "/" + added.lstrip("/")
    return _with_query(parts._replace(path=longer), [pair for pair in (parts.query, query) if pair])


def path_and_query(url: str) -> str:
    """Cut the origin off."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def at_origin(url: str, path: str) -> str:
    """Put a path and query behind the origin of a URL.

    Joining by the rules of URLs would take `//host/path` for another origin.
    Raises FatalConnectorError for a path that would change the origin.
    """
    if not path.startswith("/"):
        raise FatalConnectorError("the checkpoint leads to another origin than the source")
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{path}"


def _other_pairs(query: str, names: Collection[str]) -> list[str]:
    pairs = query.split("&") if query else []
    return [pair for pair in pairs if unquote_plus(pair.partition("=")[0]) not in names]


def _with_query(parts: SplitResult, pairs: list[str]) -> str:
    return urlunsplit(parts._replace(query="&".join(pairs), fragment=""))


def _quoted(value: str) -> str:
    return quote(value, safe="", errors="surrogateescape")
