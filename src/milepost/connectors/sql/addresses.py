"""URLs of databases that can be read."""

import re
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

_DRIVERS: Final = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    # Not SQLAlchemy's mariadb, which refuses MySQL: this one asks the server which of them it is.
    "mariadb": "mysql+pymysql",
    "sqlite": "sqlite",
}
_ADDRESS: Final = re.compile(rf"({'|'.join(_DRIVERS)})(\+\w+)?://", re.IGNORECASE)
TAKES: Final = "postgresql://USER:$PASSWORD@HOST/DATABASE, mysql://…, mariadb://… or sqlite:///FILE"


def is_address(text: str) -> bool:
    """Whether a text is the URL of a database of a kind that can be read."""
    return _ADDRESS.match(text) is not None


def parse_address(template: str) -> URL:
    """Read a URL, or the template of one. Raises ValueError that shows nothing of it."""
    scheme = _ADDRESS.match(template)
    if scheme is None:
        raise ValueError(f"url must look like {TAKES}")
    try:
        url = make_url(template)
    except (ArgumentError, ValueError):
        raise ValueError(f"url cannot be read: it must look like {TAKES}") from None
    if url.database is None:
        raise ValueError(f"url names no {'file' if scheme[1] == 'sqlite' else 'database'}")
    return url.set(drivername=_DRIVERS[scheme[1].lower()])
