"""Files of this machine."""

import glob
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from milepost.connectors.files.addresses import is_pattern
from milepost.connectors.files.storage import Found, nothing_matches
from milepost.errors import FatalConnectorError, RetryableConnectorError


class LocalFile:
    """One open file. What it says is checked by reading, so that a copy goes on as well."""

    def __init__(self, path: str) -> None:
        self.raw: io.RawIOBase = io.FileIO(path)
        self._told = os.fstat(self.raw.fileno())

    @property
    def version(self) -> str:
        """Size and time of the last change."""
        return _version(self._told)

    @property
    def version_counts(self) -> bool:
        """No: reading what was read is cheap, and tells whether it is the same."""
        return False

    def check_end(self, size: int) -> bool:
        """Whether nobody has truncated it."""
        return os.fstat(self.raw.fileno()).st_size >= size

    def read_in_any_order(self) -> None:
        """Do nothing: a disk can."""

    def interrupt(self) -> None:
        """Do nothing: nothing stops a read of a disk."""

    def close(self) -> None:
        """Close it."""
        self.raw.close()


class LocalStorage:
    """The files that a path or a pattern names."""

    def __init__(self, path: str) -> None:
        self._path = path

    def find(self) -> Sequence[Found]:
        """Find them; a path that exists is no pattern, whatever characters it has."""
        path = str(Path(self._path).expanduser())
        with self.named_errors(self._path):
            if not is_pattern(path) or Path(path).exists():
                _check_regular(path, self._path)
                return [Found(self._path, self._path, path, _version(Path(path).stat()))]
            # Path.glob would drop what the pattern begins with: `./`, and `..`.
            matches = glob.glob(path, recursive=True)  # noqa: PTH207
            names = sorted(name for name in matches if not Path(name).is_dir())
        if not names:
            raise nothing_matches(self._path)
        found = []
        for name in names:
            with self.named_errors(name):
                _check_regular(name, name)
                found.append(Found(name, name, name, _version(Path(name).stat())))
        return found

    def open(self, found: Found) -> LocalFile:
        """Open one of them."""
        _check_regular(found.where, found.shown)
        return LocalFile(found.where)

    @contextmanager
    def named_errors(self, shown: str) -> Iterator[None]:
        """Name the file; a disk or a network share may come back, the rest is for people."""
        try:
            yield
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            raise FatalConnectorError(f"{shown}: {error.strerror}") from None
        except OSError as error:
            raise RetryableConnectorError(f"{shown}: {error.strerror or error}") from None


def _check_regular(path: str, shown: str) -> None:
    # Looked at before it is opened: opening a pipe waits for its writer.
    if Path(path).is_dir():
        raise FatalConnectorError(f"{shown}: Is a directory; for its files write {shown}/*.csv")
    if Path(path).exists() and not Path(path).is_file():
        raise FatalConnectorError(
            f"{shown}: not a regular file: it could not be resumed; save it to a file first"
        )


def _version(told: os.stat_result) -> str:
    return f"{told.st_size}-{told.st_mtime_ns}"
