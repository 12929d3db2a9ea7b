"""Reads the streams of a declarative manifest of Airbyte, one run of airbyte-cdk for each."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from milepost.connectors import templates
from milepost.connectors.airbyte.catalog import Catalog
from milepost.connectors.airbyte.faults import error_of
from milepost.connectors.airbyte.messages import (
    CatalogSaid,
    ConfigChanged,
    ErrorSaid,
    LogSaid,
    Message,
    StreamEnded,
    parse,
)
from milepost.connectors.airbyte.source import PACKAGE, AirbyteSource
from milepost.connectors.connector import Cursor, OnLog, Page, Report, Table
from milepost.connectors.programs.messages import RecordSaid, StateSaid
from milepost.connectors.programs.paging import Pager
from milepost.connectors.programs.process import RunFolder
from milepost.connectors.programs.program import Program, read
from milepost.connectors.secrets import Secrets
from milepost.connectors.states import says_nothing
from milepost.connectors.trial import tried
from milepost.errors import ConnectorError, FatalConnectorError, RetryableConnectorError

_PROGRAM: Final = "source-declarative-manifest"


class AirbyteConnector:
    """One use of a manifest.

    A run reads one stream only, so that a STATE is a place in one table.
    """

    def __init__(
        self, source: AirbyteSource, secrets: Secrets, *, on_log: OnLog | None = None
    ) -> None:
        self._source = source
        self._secrets = secrets
        package = source.package if source.venv or source.package else PACKAGE
        self._program = Program(_PROGRAM, source, secrets, package=package, on_log=on_log)
        self._catalog: Catalog | None = None

    async def tables(self) -> Sequence[Table]:
        """Ask which streams the manifest has, once."""
        catalog = await self._known()
        chosen = self._source.tables or tuple(catalog.streams)
        for name in chosen:
            if name not in catalog.streams:
                raise FatalConnectorError(self._no_stream(name, catalog.streams))
        return [catalog.streams[name].table(name) for name in chosen]

    async def pages(self, table: str, *, after: Cursor) -> AsyncGenerator[Page]:
        """Read one stream from the STATE in a cursor.

        A stream that knows no places has pages without a cursor. Before an error is raised, there
        is a page with what was read up to the last STATE.
        """
        known = {each.name for each in await self.tables()}
        if table not in known:
            raise FatalConnectorError(self._no_stream(table, sorted(known)))
        began = templates.fill(_from_cursor(after), self._secrets)
        stream = (await self._known()).streams[table]
        files: dict[str, Any] = {"catalog": stream.configured()}
        if began is not None:
            state = {"stream_descriptor": {"name": table}, "stream_state": began}
            files["state"] = [{"type": "STREAM", "stream": state}]
        pager = Pager({table}, self._source.page_size, began, cursor=self._cursor)
        complete = False
        try:
            async with aclosing(self._said("read", files, table)) as said:
                async for message, size in said:
                    match message:
                        case RecordSaid() | StateSaid():
                            if pager.take(message, size):
                                yield pager.page()
                        case StreamEnded(name, status) if name == table:
                            complete = status == "COMPLETE"
                        case _:
                            pass
        except ConnectorError:
            if pager.has_moved:
                yield pager.page()
            raise
        if not complete:
            # Or what it has left out would be marked as gone.
            raise RetryableConnectorError(
                f"{self._source.manifest} ends without having read {table} in whole: "
                "the log says why"
            )
        yield pager.last_page(resumes=stream.is_incremental and not says_nothing(pager.state))

    async def test(self) -> Report:
        """Ask for the catalog, and for the first page of each stream."""
        return await tried(self)

    async def aclose(self) -> None:
        """Do nothing: each run is ended where it was begun."""

    async def install(self) -> str:
        """Find airbyte-cdk, or install it where the source says how; returns its path."""
        return await self._program.install()

    async def _known(self) -> Catalog:
        if self._catalog is None:
            async with aclosing(self._said("discover", {})) as said:
                async for message, _ in said:
                    if isinstance(message, CatalogSaid):
                        self._catalog = Catalog.of(message.streams, manifest=self._source.manifest)
        if self._catalog is None:
            raise FatalConnectorError(f"{self._source.manifest}: there was no catalog of it")
        return self._catalog

    async def _said(
        self, command: str, files: dict[str, Any], stream: str | None = None
    ) -> AsyncGenerator[tuple[Message | None, int]]:
        """Run a command, and read what it says, with the sizes in bytes; errors are raised."""
        arguments = [command, *_path("--manifest-path", self._source.manifest)]
        environment = {}
        if self._source.components is not None:
            arguments += _path("--components-path", self._source.components)
            environment["AIRBYTE_ENABLE_UNSAFE_CODE"] = "true"
        await self.install()
        folder = RunFolder()
        for name, value in {"config": self._program.config, **files}.items():
            arguments += [f"--{name}", folder.write(f"{name}.json", value)]
        # It keeps replies there, which are to go with the rest after a kill.
        environment["TMPDIR"] = str(folder)
        async with (
            self._program.running(arguments, folder, environment=environment) as run,
            aclosing(run.lines()) as lines,
        ):
            async for batch in lines:
                for line in batch:
                    match parse(line, stream):
                        case LogSaid(text):
                            run.heard(text)
                        case ErrorSaid() as error:
                            # What comes after it is no place to go on from.
                            raise self._error(error)
                        case ConfigChanged():
                            self._program.log(
                                "the source has got a new config, perhaps a new refresh token: "
                                "it is not kept"
                            )
                        case message:
                            yield message, len(line)

    def _error(self, said: ErrorSaid) -> ConnectorError:
        hide = self._secrets.hide
        hidden = ErrorSaid(hide(said.message), hide(said.detail), said.failure)
        return error_of(self._source.manifest, hidden)

    def _cursor(self, state: Any) -> Cursor:
        return (
            None if state is None else {"airbyte": 1, "state": templates.seal(state, self._secrets)}
        )

    def _no_stream(self, name: str, known: Any) -> str:
        has = ", ".join(known) or "none"
        return f"{self._source.manifest} has no stream {name!r}; it has: {has}"


def _path(option: str, named: str) -> list[str]:
    read(named)
    return [option, str(Path(named).expanduser().absolute())]


def _from_cursor(cursor: Cursor) -> Any:
    """Find the STATE in a cursor; None where it begins at the beginning.

    Raises FatalConnectorError for a cursor that is not of such a source.
    """
    match cursor:
        case None:
            return None
        case {"airbyte": 1, "state": dict(state)}:
            return state
        case _:
            raise FatalConnectorError("the place to go on from is not one of Airbyte's")
