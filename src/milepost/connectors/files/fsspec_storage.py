"""Files wherever fsspec gets: S3, Google Cloud Storage, SFTP and many more."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from milepost.connectors.files.addresses import is_pattern, scheme_of
from milepost.connectors.files.extras import needs
from milepost.connectors.files.source import FileSource
from milepost.connectors.files.storage import Found, changed, nothing_matches
from milepost.connectors.secrets import Secrets
from milepost.errors import (
    AuthenticationRefused,
    ConnectorError,
    FatalConnectorError,
    RetryableConnectorError,
)

_BLOCK: Final = 4 * 1024 * 1024
# Where the version of a file is said, the surest first.
_TAGS: Final = ("ETag", "etag", "content_md5", "md5Hash", "checksum", "generation")
_MOMENTS: Final = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")
_CREDENTIALS_LACK: Final = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError",
     "TokenRetrievalError", "ClientAuthenticationError", "DefaultCredentialsError",
     "AuthenticationException"}
)  # fmt: skip
_MISTAKES: Final = (TypeError, ValueError, NotImplementedError)


class StoredFile:
    """One open file of an fsspec filesystem."""

    def __init__(self, file: Any, version: str | None) -> None:
        self._file = file
        self._version = version
        self.raw: io.RawIOBase = _Raw(file)

    @property
    def version(self) -> str | None:
        """As it was listed."""
        return self._version

    @property
    def version_counts(self) -> bool:
        """Yes: reading all of it again would be slow."""
        return True

    def check_end(self, size: int) -> bool:  # noqa: ARG002
        """Yes: fsspec reads until the size that it was told."""
        return True

    def read_in_any_order(self) -> None:
        """Do nothing: that is what it does."""

    def interrupt(self) -> None:
        """Do nothing: fsspec ends a read in its own time."""

    def close(self) -> None:
        """Close it."""
        self._file.close()


class FsspecStorage:
    """The files that a URL or a pattern of fsspec names."""

    def __init__(self, source: FileSource, url: str, secrets: Secrets) -> None:
        self._source = source
        self._secrets = secrets
        self._url = url
        self._shown = secrets.hide(url)
        self._filesystem: Any = None
        self._path = ""

    def find(self) -> Sequence[Found]:
        """Find them; what was listed before may have changed, so it is listed again."""
        with self.named_errors(self._shown):
            filesystem = self._opened()
            filesystem.invalidate_cache()
            if not is_pattern(self._url):
                listed = {self._path: filesystem.info(self._path)}
            else:
                listed = filesystem.glob(self._path, detail=True)
        found = [
            self._found(path, told)
            for path, told in sorted(listed.items())
            if told.get("type") != "directory"
        ]
        if not found and is_pattern(self._url):
            raise nothing_matches(self._shown)
        if not found:
            raise FatalConnectorError(
                f"{self._shown} is a directory; for its files write {self._shown.rstrip('/')}/*.csv"
            )
        return found

    def open(self, found: Found) -> StoredFile:
        """Open one of them."""
        filesystem = self._opened()
        file = filesystem.open(found.where, "rb", block_size=_BLOCK, cache_type="readahead")
        # Told anew where it was opened, so that what is read is what the version says.
        told = getattr(file, "details", None)
        version = _version(told) if isinstance(told, Mapping) else found.version
        return StoredFile(file, version)

    @contextmanager
    def named_errors(self, shown: str) -> Iterator[None]:
        """Name the file, and say what to do by what went wrong."""
        try:
            yield
        except ConnectorError:
            raise
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise FatalConnectorError(f"{shown}: there is no such file") from None
        except Exception as error:  # noqa: BLE001 (each library has its own)
            raise self._named(error, shown) from None

    def _named(self, error: Exception, shown: str) -> ConnectorError:
        said = f"{shown}: {self._said(error)}"
        names = {kind.__name__ for kind in type(error).__mro__}
        if isinstance(error, PermissionError) or names & _CREDENTIALS_LACK:
            return AuthenticationRefused(
                f"{said}. Give credentials with --option "
                'storage_options={"key": "$KEY", "secret": "$SECRET"}, or as its library finds them'
            )
        if "PreconditionFailed" in said or "pre-conditions" in said or "FileExpired" in names:
            return changed(shown, "there")
        if isinstance(error, _MISTAKES) or "ParamValidationError" in names:
            return FatalConnectorError(said)
        return RetryableConnectorError(said)

    def _said(self, error: Exception) -> str:
        return self._secrets.hide(str(error) or type(error).__name__)

    def _opened(self) -> Any:
        if self._filesystem is None:
            scheme = scheme_of(self._url)
            options = _revealed(self._source.storage_options, self._secrets)
            with needs(f"{scheme}://", "s3" if scheme in {"s3", "s3a"} else "files"):
                from fsspec.core import url_to_fs

                self._filesystem, self._path = url_to_fs(
                    self._url,
                    **{"skip_instance_cache": True, "use_listings_cache": False, **options},
                )
        return self._filesystem

    def _found(self, path: str, told: Mapping[str, Any]) -> Found:
        name = f"{scheme_of(self._url)}://{path.lstrip('/')}"
        return Found(self._secrets.seal(name), self._secrets.hide(name), path, _version(told))


class _Raw(io.RawIOBase):
    """What fsspec opens has only some of the methods that a file has."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read = self._file.read(len(buffer))
        buffer[: len(read)] = read
        return len(read)

    def seek(self, offset: int, whence: int = 0) -> int:
        place: int = self._file.seek(offset, whence)
        return place

    def tell(self) -> int:
        place: int = self._file.tell()
        return place


def _version(told: Mapping[str, Any]) -> str | None:
    for name in _TAGS:
        if told.get(name):
            return str(told[name])
    moment = next((told[name] for name in _MOMENTS if told.get(name)), None)
    return None if moment is None else f"{told.get('size')}-{moment}"


def _revealed(options: Mapping[str, Any], secrets: Secrets) -> dict[str, Any]:
    revealed: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, str):
            revealed[name] = secrets.reveal(value)
        elif isinstance(value, Mapping):
            revealed[name] = _revealed(value, secrets)
        else:
            revealed[name] = value
    return revealed
