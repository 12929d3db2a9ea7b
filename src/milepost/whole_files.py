"""Files that are there whole, or not at all."""

import gzip
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from milepost.errors import ConfigurationError


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """Write beside the file, and put it in place at the end; what was there stays until then.

    Raises ConfigurationError where there is no such folder.
    """
    if not path.parent.is_dir():
        raise ConfigurationError(f"{path}: there is no folder {path.parent}")
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # As a file that is simply written: mkstemp makes one for its owner alone.
        umask = os.umask(0)
        os.umask(umask)
        Path(beside).chmod(0o666 & ~umask)
        Path(beside).replace(path)
        # Its name is on disk only when its folder is.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


@contextmanager
def lines_in(file: IO[bytes], *, packed: bool) -> Iterator[IO[str]]:
    """Write text into a file that stays open; `packed` with gzip."""
    out = cast("IO[bytes]", gzip.GzipFile(fileobj=file, mode="wb")) if packed else file
    lines = io.TextIOWrapper(out, encoding="utf-8", newline="", errors="surrogatepass")
    yield lines
    lines.flush()
    lines.detach()
    if packed:
        out.close()
