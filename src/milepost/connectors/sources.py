"""What a connector reads, as data that may stand in a job's args: templates, never secrets."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import unquote_plus, urlsplit

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from milepost.connectors.secrets import looks_secret, references
from milepost.errors import FatalConnectorError

Pagination = Literal["auto", "link", "next-url", "cursor", "page", "offset", "none"]
FileFormat = Literal["auto", "csv", "json", "jsonl"]

Count = Annotated[int, Field(ge=1)]
Duration = Annotated[timedelta, Field(gt=timedelta(0))]

# An instance made in code is checked like one that came as JSON.
_CHECKED = ConfigDict(extra="forbid", revalidate_instances="always")


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpSource:
    """One or several tables behind an HTTP API that answers in JSON.

    `url`, the paths in `tables`, and the values of `headers` and `params` are templates:
    `$NAME` is taken from the environment where the job runs.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CHECKED

    url: str
    kind: Literal["http"] = "http"
    tables: dict[str, str] = field(default_factory=dict)
    """Table name to path, appended to the URL. Empty: one table, named by the URL's end."""
    headers: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    basic_auth: str | None = None
    """`user:$PASSWORD`, or `$KEY:` where a key takes the place of both."""

    records_path: str | None = None
    """Where the list of records is in a reply: `data.items`. None: find it."""
    pagination: Pagination = "auto"
    page_size: Count | None = None
    page_size_param: str | None = None
    """None: `per_page` for pagination by page number, otherwise `limit`."""
    page_param: str | None = None
    first_page: Annotated[int, Field(ge=0)] = 1
    offset_param: str | None = None
    cursor_param: str | None = None
    cursor_path: str | None = None
    """Where the cursor, or the URL of the next page, is in a reply: `meta.next`."""

    connect_within: Duration = timedelta(seconds=10)
    read_within: Duration = timedelta(seconds=60)
    """The longest silence of a server that is connected."""
    reply_within: Duration = timedelta(minutes=5)
    max_reply_bytes: Count = 64 * 1024 * 1024
    max_tries: Count = 8
    wait_at_most: Duration = timedelta(seconds=60)
    """How long one page may wait for its tries; past that the job is run again later."""

    def __post_init__(self) -> None:
        """Refuse what can never work, and secrets that stand in plain text."""
        if not re.match(r"https?://|\$", self.url):
            raise ValueError(f"url must begin with http:// or https://, not {self.url[:20]!r}")
        parts = urlsplit(self.url)
        if "@" in parts.netloc:
            raise ValueError("url must not hold credentials: use basic_auth 'user:$PASSWORD'")
        if self.basic_auth is not None:
            user, colon, password = self.basic_auth.partition(":")
            if not colon:
                raise ValueError("basic_auth must look like 'user:$PASSWORD'")
            _refuse_plain("basic_auth", password or user)
        for name, path in self.tables.items():
            if not name or "://" in path:
                raise ValueError(f"table {name!r}: give a path that is appended to the url")
            _check_query(path)
        for name, template in [*self.headers.items(), *self.params.items()]:
            if looks_secret(name):
                _refuse_plain(name, template)
        _check_query(self.url)


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSource:
    """One table in a file. A relative path starts where the worker runs."""

    __pydantic_config__: ClassVar[ConfigDict] = _CHECKED

    path: str
    kind: Literal["file"] = "file"
    format: FileFormat = "auto"
    records_path: str | None = None
    """Where the list of records is in a JSON file: `data.items`. None: find it."""
    page_size: Count = 1000
    max_json_bytes: Count = 256 * 1024 * 1024
    """The largest JSON file; one of JSON Lines or CSV may have any size."""


Source = Annotated[HttpSource | FileSource, Field(discriminator="kind")]

_SOURCE: TypeAdapter[HttpSource | FileSource] = TypeAdapter(Source)


def source_from(
    address: str, *, tables: Sequence[str] = (), **options: Any
) -> HttpSource | FileSource:
    """Describe the source that a person names by a URL or a path.

    Each of `tables` is `orders`, appended to the URL, or `orders=sales/v2/orders`; `options`
    are fields of the source. Raises FatalConnectorError that names each wrong field.
    """
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if re.match(r"https?://|\$", address):
        paths: dict[str, str] = {}
        for table in tables:
            name, equals, path = table.partition("=")
            if not equals or "?" in name:
                name, path = table.partition("?")[0], table
            name = name.rstrip("/").rpartition("/")[2]
            if name in paths:
                raise FatalConnectorError(f"two tables are named {name!r}: write NAME=PATH")
            paths[name] = path
        return check_source({"kind": "http", "url": address, "tables": paths, **given})
    if tables:
        raise FatalConnectorError(f"{address} is a file: it holds one table, named by the file")
    return check_source({"kind": "file", "path": str(Path(address).expanduser()), **given})


def check_source(source: HttpSource | FileSource | Mapping[str, Any]) -> HttpSource | FileSource:
    """Check a source that came as JSON or was made in code.

    Raises FatalConnectorError that names each wrong field.
    """
    try:
        return _SOURCE.validate_python(source)
    except ValidationError as error:
        # The inputs are left out: they may hold what was meant for a secret.
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        lines = [f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in wrong]
        shown = "; ".join(line.removeprefix(": ") for line in lines)
        raise FatalConnectorError(f"the source is not described well: {shown}") from None


def _check_query(url: str) -> None:
    # As it is written, not decoded: `%24NAME` refers to nothing.
    for pair in url.partition("?")[2].partition("#")[0].split("&"):
        name, _, template = pair.partition("=")
        if looks_secret(unquote_plus(name)):
            _refuse_plain(unquote_plus(name), template)


def _refuse_plain(name: str, template: str) -> None:
    if template and not references(template):
        raise ValueError(
            f"{name} holds a secret in plain text, and a source is stored: "
            "put it into an environment variable and write $NAME here"
        )
