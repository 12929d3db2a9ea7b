"""A program that reads a source: found or installed once, and run often."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from milepost.connectors import templates
from milepost.connectors.connector import OnLog
from milepost.connectors.programs.installing import program_of
from milepost.connectors.programs.messages import excerpt_of
from milepost.connectors.programs.process import ProgramRun, RunFolder
from milepost.connectors.programs.source import ProgramSource
from milepost.connectors.secrets import Secrets, looks_secret
from milepost.errors import FatalConnectorError

_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
# Hiding a shorter one would make logs unreadable, and it guards nothing.
_SHORTEST_HIDDEN: Final = 4


class Program:
    """The program `name` of a source; it knows the secrets, and hides them in what it logs."""

    def __init__(
        self,
        name: str,
        source: ProgramSource,
        secrets: Secrets,
        *,
        package: str | None,
        on_log: OnLog | None,
    ) -> None:
        self._name = name
        self._source = source
        self._secrets = secrets
        self._package = package
        self._on_log = on_log
        self._environment = templates.fill(source.environment, secrets)
        self._path: str | None = None
        self.config = self._read_config()
        """What it is told, with the secrets."""

    async def install(self) -> str:
        """Find it, or install it where the source says how; returns its path."""
        if self._path is None:
            self._path = await program_of(
                self._name, venv=self._source.venv, package=self._package, run=self._run
            )
        return self._path

    @asynccontextmanager
    async def running(
        self,
        arguments: Sequence[str],
        folder: RunFolder,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[ProgramRun]:
        """Run it; `folder` is removed with the run."""
        run = self._process([await self.install(), *arguments], folder, environment or {})
        try:
            await run.start()
            yield run
        finally:
            await run.aclose()

    async def answer(self, arguments: Sequence[str], folder: RunFolder) -> bytes:
        """Run it to its end, and return what it prints."""
        return await self._run([await self.install(), *arguments], folder)

    def log(self, said: str) -> None:
        """Say something beside it in its log."""
        if self._on_log is not None:
            self._on_log(said)

    async def _run(self, command: Sequence[str], folder: RunFolder | None = None) -> bytes:
        run = self._process(command, folder or RunFolder(), {})
        printed: list[bytes] = []
        try:
            await run.start()
            async with aclosing(run.chunks()) as chunks:
                async for chunk in chunks:
                    printed.append(chunk)
                    if sum(map(len, printed)) > _MAX_ANSWER_BYTES:
                        raise FatalConnectorError(
                            f"{Path(command[0]).name} prints more than {_MAX_ANSWER_BYTES:,} bytes"
                        )
        finally:
            await run.aclose()
        return b"".join(printed)

    def _process(
        self, command: Sequence[str], folder: RunFolder, environment: Mapping[str, str]
    ) -> ProgramRun:
        return ProgramRun(
            command, folder, environment={**environment, **self._environment},
            silent_within=self._source.silent_within, max_line_bytes=self._source.max_line_bytes,
            hide=self._secrets.hide, on_log=self._on_log,
        )  # fmt: skip

    def _read_config(self) -> Any:
        if not isinstance(self._source.config, str):
            return templates.fill(self._source.config, self._secrets)
        name = self._source.config
        config = as_json(read(name), name, self._secrets)
        for each in _secrets_in(config, secret=False):
            self._secrets.conceal(each, "$CONFIG")
        return config


def read(path: str) -> bytes:
    """Read a file that a source names. Raises FatalConnectorError that names it."""
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise FatalConnectorError(f"{path}: {error.strerror}") from None


def as_json(said: bytes, name: str, secrets: Secrets) -> Any:
    """Read JSON. Raises FatalConnectorError that says whose it is."""
    try:
        return json.loads(said)
    except ValueError:
        raise FatalConnectorError(f"{name}: no JSON: {secrets.hide(excerpt_of(said))}") from None


def _secrets_in(value: Any, *, secret: bool) -> list[str]:
    """Find the texts under names that say that they are secret."""
    match value:
        case Mapping():
            return [
                found
                for name, each in value.items()
                for found in _secrets_in(each, secret=looks_secret(str(name)))
            ]
        case list():
            return [found for each in value for found in _secrets_in(each, secret=secret)]
        case str() if secret and len(value) >= _SHORTEST_HIDDEN:
            return [value]
        case _:
            return []
