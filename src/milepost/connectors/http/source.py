"""An API as data that may stand in a job's args: templates, never secrets."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Discriminator, Field, Tag

from milepost.connectors.fields import CHECKED, Count, Duration, Wait
from milepost.connectors.http.auth import Auth
from milepost.connectors.secrets import check_query, looks_secret, named_texts, refuse_plain

# A field of the parent's record in a path; `${NAME}` is a secret.
PARENT_FIELD: Final = re.compile(r"(?<!\$)\{(\w[\w.-]*)\}")

Pagination = Literal["auto", "link", "next-url", "cursor", "page", "offset", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Paging:
    """How a list is asked for, page by page. What a table leaves out is as its source has it."""

    method: Literal["GET", "POST"] | None = None
    body: dict[str, Any] | None = None
    """What a POST sends, as JSON; its texts are templates."""
    records_path: str | None = None
    """Where the list of records is in a reply: `data.items`. None: find it."""
    pagination: Pagination | None = None
    """None is `auto`: the first reply decides."""
    page_size: Count | None = None
    page_size_param: str | None = None
    """None: `per_page` for pagination by page number, otherwise `limit`."""
    page_param: str | None = None
    first_page: Annotated[int, Field(ge=0)] | None = None
    offset_param: str | None = None
    cursor_param: str | None = None
    cursor_path: str | None = None
    """Where the cursor, or the URL of the next page, is in a reply: `meta.next`."""
    cursor_header: str | None = None
    """The reply's header that holds the cursor."""
    expired_status: tuple[int, ...] | None = None
    """With what the source answers a cursor that it has forgotten: then the table is begun anew."""
    paging_in: Literal["query", "body"] | None = None
    """Where page size and position are sent. None: in the body of a POST."""

    @property
    def start_page(self) -> int:
        """The number of the first page."""
        return 1 if self.first_page is None else self.first_page

    @property
    def in_body(self) -> bool:
        """Whether page size and position go into the body."""
        return self.method == "POST" and self.paging_in != "query"


@dataclass(frozen=True, kw_only=True, slots=True)
class Incremental:
    """How an API gives only what has changed since the last pass.

    `field` is the records' own; its greatest value goes into the parameter `param` of the next
    pass, `look_back` earlier, in this `form`: as the records have it, or in seconds or
    milliseconds since 1970.
    """

    __pydantic_config__: ClassVar[ConfigDict] = CHECKED

    field: str
    param: str
    look_back: Wait = timedelta(0)
    form: Literal["same", "seconds", "milliseconds"] = "same"


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpTable(Paging):
    """One table of an API.

    With a `parent`, the path is asked for each of its records, whose fields it names:
    `repos/{id}/issues`; or, with `inside`, the records stand in that field of the parent's. Each
    record then has `parent_fields` of its parent, as `orders_id`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = CHECKED

    path: str = ""
    """Appended to the source's URL; a template."""
    key: tuple[str, ...] = ()
    params: dict[str, str] = field(default_factory=dict)
    incremental: Incremental | None = None
    parent: str | None = None
    inside: str | None = None
    parent_fields: tuple[str, ...] = ("id",)


def _which(table: Any) -> str:
    return "path" if isinstance(table, str) else "table"


# Told apart before they are checked, so that what is wrong is said of one of them only.
PathOrTable = Annotated[
    Annotated[str, Tag("path")] | Annotated[HttpTable, Tag("table")], Discriminator(_which)
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """So many requests in such a time, for all workers that use these credentials.

    `burst` may follow each other at once, where none came before for long.
    """

    __pydantic_config__: ClassVar[ConfigDict] = CHECKED

    requests: Count
    per: Duration = timedelta(seconds=1)
    burst: Count = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpSource(Paging):
    """One or several tables behind an HTTP API that answers in JSON.

    `url`, the paths in `tables`, and the values of `headers` and `params` are templates:
    `$NAME` is taken from the environment where the job runs.
    """

    __pydantic_config__: ClassVar[ConfigDict] = CHECKED

    url: str
    kind: Literal["http"] = "http"
    tables: dict[str, PathOrTable] = field(default_factory=dict)
    """By name; a text is the table's path. Empty: one table, named by the URL's end."""
    only: tuple[str, ...] = ()
    """Which of the tables are read. Empty: all."""
    headers: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    basic_auth: str | None = None
    """`user:$PASSWORD`, or `$KEY:` where a key takes the place of both."""
    auth: Auth | None = None
    budget: Budget | None = None
    read_ahead: Annotated[int, Field(ge=0, le=64)] = 1
    """So many pages are asked for while one is written: side by side where their places are known
    without the page before, one otherwise. After a kill they are asked for again."""

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
            refuse_plain("basic_auth", password or user)
            if self.auth is not None:
                raise ValueError("give basic_auth or auth, not both")
        for name in self.only:
            if name not in self.tables:
                raise ValueError(f"only names {name!r}, which is no table")
        for name, table in self.tables.items():
            _check_table(name, table, self.tables)
        for each in _texts(self):
            _check_secret(*each)
        check_query(self.url)
        for name in ("token_url", "login_url"):
            url = getattr(self.auth, name, "")
            if "@" in urlsplit(url).netloc:
                raise ValueError(f"{name} must not hold credentials")
            check_query(url)

    def table(self, name: str) -> HttpTable:
        """A table with all that it leaves out."""
        given = self.tables.get(name, "")
        table = HttpTable(path=given) if isinstance(given, str) else given
        own: dict[str, Any] = {each.name: getattr(table, each.name) for each in fields(table)}
        for each in fields(Paging):
            if own[each.name] is None:
                own[each.name] = getattr(self, each.name)
        return HttpTable(**own)


def _check_table(name: str, table: str | HttpTable, tables: Mapping[str, str | HttpTable]) -> None:
    path = table if isinstance(table, str) else table.path
    if not name or "://" in path:
        raise ValueError(f"table {name!r}: give a path that is appended to the url")
    check_query(path)
    if isinstance(table, str):
        return
    if table.parent is None:
        if table.inside is not None:
            raise ValueError(f"table {name!r}: inside is a field of a parent: say which parent")
        return
    parent = tables.get(table.parent)
    if parent is None:
        raise ValueError(f"table {name!r}: there is no table {table.parent!r} to be its parent")
    if isinstance(parent, HttpTable) and parent.parent is not None:
        raise ValueError(f"table {name!r}: its parent {table.parent!r} must not have one itself")
    if table.incremental is not None:
        raise ValueError(f"table {name!r}: incremental is for a table without a parent")
    if (table.inside is None) == (not table.path):
        raise ValueError(
            f"table {name!r} has a parent: give either a path with its fields in braces, or inside"
        )
    if table.path and not PARENT_FIELD.search(table.path):
        raise ValueError(
            f"table {name!r}: its path names no field of its parent, such as {{id}}: it would be "
            "the same for each"
        )


def _texts(source: HttpSource) -> Iterator[tuple[str, str]]:
    """The named texts that may hold secrets."""
    yield from source.headers.items()
    if source.auth is not None:
        told = asdict(source.auth)
        yield from named_texts("", {name: told.get(name) for name in ("params", "body")})
    yield from source.params.items()
    bodies: list[Any] = [source.body]
    for table in source.tables.values():
        if isinstance(table, HttpTable):
            yield from table.params.items()
            bodies.append(table.body)
    for body in bodies:
        yield from named_texts("", body)


def _check_secret(name: str, template: str) -> None:
    if looks_secret(name):
        refuse_plain(name, template)
