"""What only some files need, and is not always installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from milepost.errors import FatalConnectorError


@contextmanager
def needs(what: str, extra: str) -> Iterator[None]:
    """Say what to install where an import fails."""
    try:
        yield
    except ImportError as error:
        library = (error.name or "a library").partition(".")[0]
        raise FatalConnectorError(
            f"{what} needs {library}, which is not installed: pip install 'milepost[{extra}]'"
        ) from None
