"""How a person describes a source to a command, whichever command that is."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Annotated, Any, Concatenate, Final, ParamSpec, TypeVar, get_args, get_type_hints

import typer

from milepost.cli import sources
from milepost.connectors import Source, source_from
from milepost.connectors.connection.kind import SCHEME
from milepost.connectors.files.source import FileFormat
from milepost.connectors.http.source import Pagination
from milepost.errors import ConfigurationError, FatalConnectorError

P = ParamSpec("P")
R = TypeVar("R")

PANEL: Final = "Source"


@dataclass(frozen=True, kw_only=True)
class SourceFlags:
    """What was typed about a source; each field is an argument or an option of the command."""

    source: Annotated[
        str, typer.Argument(help="A URL, a file, or KIND:ADDRESS; see docs/sources.md.")
    ]
    table: Annotated[
        list[str] | None,
        typer.Option(help="Table: NAME or NAME=PATH, appended to the URL. Repeatable."),
    ] = None
    records_path: Annotated[
        str | None, typer.Option(help="Where the records are: data.items.", rich_help_panel=PANEL)
    ] = None
    page_size: Annotated[int | None, typer.Option(min=1, help="Records in a page.")] = None
    file_format: Annotated[
        str | None, typer.Option("--format", help="csv, json, jsonl or parquet [default: by name].")
    ] = None
    header: Annotated[
        list[str] | None,
        typer.Option(help="'Authorization: Bearer $TOKEN'; $NAME comes from the environment."),
    ] = None
    param: Annotated[
        list[str] | None, typer.Option(help="Query parameter name=value. Repeatable.")
    ] = None
    basic_auth: Annotated[str | None, typer.Option(help="user:$PASSWORD")] = None
    pagination: Annotated[str, typer.Option(help=f"One of {', '.join(get_args(Pagination))}.")] = (
        "auto"
    )
    page_size_param: Annotated[str | None, typer.Option(help="Its parameter's name.")] = None
    page_param: Annotated[str | None, typer.Option(help="Parameter of the page number.")] = None
    first_page: Annotated[int | None, typer.Option(min=0, help="0 or 1.")] = None
    offset_param: Annotated[str | None, typer.Option(help="Parameter of the offset.")] = None
    cursor_param: Annotated[str | None, typer.Option(help="Parameter of the cursor.")] = None
    cursor_path: Annotated[
        str | None, typer.Option(help="Where the next cursor or URL is in a reply.")
    ] = None
    option: Annotated[
        list[str] | None,
        typer.Option(help="Any field of the source: name=value, JSON or text. Repeatable."),
    ] = None

    def described(self, kept: sources.Kept) -> Source:
        """Describe the source. Secrets that were typed are left in `kept`.

        Raises ConfigurationError that says which option is wrong.
        """
        check_choice("--pagination", self.pagination, get_args(Pagination))
        check_choice("--format", self.file_format, get_args(FileFormat))
        by_name = self.source.startswith(SCHEME)
        forced, named = sources.kind_before(self.source)
        is_http = named.startswith(("http://", "https://", "$"))
        credentials = None
        if is_http:
            address, credentials = sources.address_of(named, kept)
            kept.note_within(self.source, named)
            address = forced + address
        else:
            address = sources.database_of(self.source, kept, what="source")
        http = self._over_http(credentials, kept)
        others = sources.options_of(self.option or [], kept)
        foreign = [name for name, value in http.items() if value is not None]
        if foreign and not (is_http or by_name):
            options = ", ".join(map(_option, foreign))
            raise ConfigurationError(f"{address} is not asked over HTTP: {options} are for that")
        tables = sources.tables_of(self.table or [], kept)
        if tables and "tables" in others:
            raise ConfigurationError("give --table or --option tables=…, not both")
        try:
            return source_from(
                address,
                tables=others.pop("tables", tables),
                records_path=self.records_path,
                page_size=self.page_size,
                format=self.file_format,
                **{name: http[name] for name in foreign},
                **others,
            )
        except FatalConnectorError as error:
            raise ConfigurationError(str(error)) from error

    def _over_http(self, credentials: str | None, kept: sources.Kept) -> dict[str, Any]:
        return {
            "headers": sources.headers_of(self.header or [], kept) or None,
            "params": sources.params_of(self.param or [], kept) or None,
            "basic_auth": sources.basic_auth_of(self.basic_auth, kept) or credentials,
            "pagination": None if self.pagination == "auto" else self.pagination,
            "page_size_param": self.page_size_param,
            "page_param": self.page_param,
            "first_page": self.first_page,
            "offset_param": self.offset_param,
            "cursor_param": self.cursor_param,
            "cursor_path": self.cursor_path,
        }


def takes_source(command: Callable[Concatenate[SourceFlags, P], R]) -> Callable[..., R]:
    """Give a command, whose first parameter are the flags, an option for each of them.

    They stand after the command's own arguments, and before its options.
    """
    _, *own = inspect.signature(command).parameters.values()
    hints = get_type_hints(SourceFlags, include_extras=True)
    flags = [
        inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, annotation=hints[each.name],
            default=each.default if each.name != "source" else inspect.Parameter.empty,
        )
        for each in fields(SourceFlags)
    ]  # fmt: skip
    arguments = [each for each in own if each.default is inspect.Parameter.empty]
    options = [each for each in own if each not in arguments]
    all_of_them = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*arguments, *flags, *options)
    ]

    @wraps(command)
    def run(**given: Any) -> R:
        typed = {each.name: given.pop(each.name) for each in flags}
        return command(SourceFlags(**typed), **given)  # type: ignore[call-arg]

    run.__signature__ = inspect.Signature(all_of_them)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in all_of_them}
    return run


def check_choice(option: str, given: str | None, choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices. Raises ConfigurationError."""
    if given is not None and given not in choices:
        raise ConfigurationError(f"{option} takes one of {', '.join(choices)}, not {given!r}")


def _option(field: str) -> str:
    """Name the option that a field of the source comes from."""
    singular = {"headers": "header", "params": "param"}
    return f"--{singular.get(field, field).replace('_', '-')}"
