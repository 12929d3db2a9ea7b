"""Files as data that may stand in a job's args: templates, never secrets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

from milepost.connectors.fields import CHECKED, Count, Duration
from milepost.connectors.files.addresses import is_remote, password_of
from milepost.connectors.secrets import check_query, looks_secret, refuse_plain

FileFormat = Literal["auto", "csv", "json", "jsonl", "parquet"]
Compression = Literal["auto", "gzip", "zstd", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSource:
    """One table in a file or in all files that a pattern names, or one for each of them.

    A relative path starts where the worker runs. A URL, the values of `headers` and the texts in
    `storage_options` are templates: `$NAME` is taken from the environment where the job runs. A
    local path is taken as it is, unless it begins with `$`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = CHECKED

    path: str
    kind: Literal["file"] = "file"
    format: FileFormat = "auto"
    compression: Compression = "auto"
    """auto: what the first bytes of a file say, whatever its name."""

    encoding: str | None = None
    """None: a byte order mark, else UTF-8, else cp1252 where a CSV file looks like it."""
    delimiter: str | None = None
    quote: str | None = None
    """None: found. Empty: quotes are characters like any other."""
    escape: str | None = None
    header: bool = True
    """Whether the first row of a CSV file names the columns."""
    column_names: tuple[str, ...] = ()
    """The names of the columns of a CSV file without a header; else `column_1` and so on."""

    columns: tuple[str, ...] = ()
    """The only columns to read of Parquet files; empty: all."""
    records_path: str | None = None
    """Where the list of records is in a JSON file: `data.items`. None: find it."""
    page_size: Count = 1000
    max_json_bytes: Count = 256 * 1024 * 1024
    """The largest JSON file, unpacked; one of another format may have any size."""

    table: str | None = None
    """The name of the table. None: the file's, or what is fixed in the pattern."""
    table_per_file: bool = False
    only_new: bool = False
    """Read only files that were not read yet, or that have changed since."""

    headers: dict[str, str] = field(default_factory=dict)
    """Sent to an HTTP server that has the file."""
    basic_auth: str | None = None
    """`user:$PASSWORD` for such a server."""
    storage_options: dict[str, Any] = field(default_factory=dict)
    """What fsspec takes to open a store: `{"key": "$KEY", "secret": "$SECRET"}`."""
    max_tries: Count = 8
    wait_at_most: Duration = timedelta(seconds=60)
    """How long one page may wait for the tries of an HTTP server."""

    def __post_init__(self) -> None:
        """Refuse what can never work, and secrets that stand in plain text."""
        for name, char in (("delimiter", self.delimiter), ("escape", self.escape)):
            if char is not None and (len(char) != 1 or char in "\r\n"):
                raise ValueError(f"{name} must be one character, not {char!r}")
        if self.quote is not None and (len(self.quote) > 1 or self.quote in {"\r", "\n"}):
            raise ValueError(f"quote must be one character, or none, not {self.quote!r}")
        if self.encoding is not None:
            _check_encoding(self.encoding)
        if self.column_names and self.header:
            raise ValueError("column_names are for files without a header: set header to false")
        if self.table is not None and (self.table_per_file or not self.table):
            raise ValueError("table names the one table, so it goes with no table_per_file")
        if is_remote(self.path):
            refuse_plain("path", password_of(self.path))
            check_query(self.path)
        if self.basic_auth is not None:
            user, colon, password = self.basic_auth.partition(":")
            if not colon:
                raise ValueError("basic_auth must look like 'user:$PASSWORD'")
            refuse_plain("basic_auth", password or user)
        _refuse_plain_values(self.headers)
        _refuse_plain_values(self.storage_options)


def _check_encoding(name: str) -> None:
    try:
        # Of nothing at all, any name would do.
        b"x".decode(name)
    except UnicodeError:
        return
    except LookupError:
        raise ValueError(
            f"encoding {name!r} is not known; utf-8, utf-16 and cp1252 are, and more"
        ) from None


def _refuse_plain_values(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if isinstance(value, Mapping):
            _refuse_plain_values(value)
        elif isinstance(value, str) and looks_secret(name):
            refuse_plain(name, value)
