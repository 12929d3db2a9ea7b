"""Runs a program that reads a source: its output as it comes, and none of it left behind."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from milepost.connectors.connector import OnLog
from milepost.connectors.programs.exits import said_at_end
from milepost.connectors.programs.messages import excerpt_of
from milepost.errors import FatalConnectorError, RetryableConnectorError

Answer = TypeVar("Answer")

GRACE: Final = 3.0
_CHUNK: Final = 256 * 1024
_LOG_LINE: Final = 2000
_KEPT_LINES: Final = 20
_GUARD: Final = Path(__file__).with_name("guard.py")
# What any program needs. The worker's other variables, secrets among them, are none of its.
_INHERITED: Final = re.compile(
    "PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_.*|TZ|TMPDIR|SSL_CERT_.*|REQUESTS_CA_BUNDLE|PIP_.*"
    "|(https?|no)_proxy",
    re.IGNORECASE,
)


class RunFolder:
    """A folder that only its owner may read, for what a run is told by files."""

    def __init__(self) -> None:
        self._path = Path(tempfile.mkdtemp(prefix="milepost-run-"))

    def __str__(self) -> str:
        return str(self._path)

    def write(self, name: str, value: Any) -> str:
        """Write JSON that nobody else may read; returns the path."""
        path = self._path / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(value, file)
        return str(path)

    def remove(self) -> None:
        """Remove it; the guard of a run does so as well, after the death of a worker too."""
        shutil.rmtree(self._path, ignore_errors=True)


class ProgramRun:
    """One run of a program, begun by `start` and always ended by `aclose`."""

    def __init__(
        self,
        command: Sequence[str],
        folder: RunFolder,
        *,
        environment: Mapping[str, str],
        silent_within: timedelta,
        max_line_bytes: int,
        hide: Callable[[str], str],
        on_log: OnLog | None = None,
    ) -> None:
        self._command = command
        self._name = Path(command[0]).name
        self._folder = folder
        self._environment = {**_inherited(), **environment}
        self._silent_within = silent_within.total_seconds()
        self._max_line_bytes = max_line_bytes
        self._hide = hide
        self._on_log = on_log
        self._last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._heard_at = 0.0
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it in a session of its own, below a guard that ends it with us."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(_GUARD), str(self._folder), str(GRACE), *self._command,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, limit=_CHUNK, start_new_session=True,
            env=self._environment,
        )  # fmt: skip
        self._listening = asyncio.create_task(self._listen())

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Read what it prints as it comes, and no more than is asked for.

        Raises the ConnectorError that says what its end means, if that was no good one.
        """
        while chunk := await self._read():
            yield chunk
        code = await self._end()
        if code:
            raise said_at_end(self._name, code, list(self._last_lines))

    async def lines(self) -> AsyncGenerator[list[bytes]]:
        """Read what it prints, some whole lines at a time; raises as `chunks` does."""
        rest = b""
        async with aclosing(self.chunks()) as chunks:
            async for chunk in chunks:
                # What is not whole yet is joined once for each chunk, not searched again.
                *whole, tail = chunk.split(b"\n")
                if whole:
                    whole[0] = rest + whole[0]
                rest = tail if whole else rest + tail
                if len(rest) > self._max_line_bytes:
                    raise FatalConnectorError(
                        f"{self._name} prints a line of more than {self._max_line_bytes:,} bytes: "
                        "raise max_line_bytes, if that is right"
                    )
                if whole:
                    yield whole
        if rest.strip():
            try:
                json.loads(rest)
            except ValueError:
                raise RetryableConnectorError(
                    f"{self._name} ends in the middle of a line: {self._hide(excerpt_of(rest))}"
                ) from None
            yield [rest]

    def heard(self, line: str) -> None:
        """Pass on a line of its log, wherever it came from."""
        # Hidden before it is cut, or half of a secret would be no secret any more.
        text = self._hide(line.rstrip())[:_LOG_LINE]
        if not text:
            return
        self._last_lines.append(text)
        if self._on_log is not None:
            self._on_log(text)

    async def aclose(self) -> None:
        """End it with all that it has started; safe to call twice."""
        process, listening = self._process, self._listening
        try:
            if process is not None and process.returncode is None:
                # The guard sees it, and does the rest even if nobody waits for it.
                if process.stdin is not None:
                    process.stdin.close()
                await self._leave(process)
        finally:
            if listening is not None:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
            self._folder.remove()

    async def _leave(self, process: asyncio.subprocess.Process) -> None:
        drop = asyncio.create_task(self._drop_rest(process))
        try:
            async with asyncio.timeout(GRACE + 2):
                await process.wait()
        except TimeoutError:
            # The program dies with it where the kernel knows how. What else holds its pipes, nobody
            # knows, so nobody waits for it.
            process.kill()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), GRACE)
        finally:
            drop.cancel()
            await asyncio.gather(drop, return_exceptions=True)

    async def _drop_rest(self, process: asyncio.subprocess.Process) -> None:
        # A process counts as ended when its pipes are read to their ends.
        if process.stdout is not None:
            while await process.stdout.read(_CHUNK):
                pass

    async def _read(self) -> bytes:
        process = self._process
        if process is None or process.stdout is None:
            raise RuntimeError("the program has not been started")
        self._heard_at = _now()
        reading = asyncio.ensure_future(process.stdout.read(_CHUNK))
        return await self._unless_silent(reading)

    async def _end(self) -> int:
        process = self._process
        if process is None:
            raise RuntimeError("the program has not been started")
        code = await self._unless_silent(asyncio.ensure_future(process.wait()))
        if self._listening is not None:
            await self._listening
        return code

    async def _unless_silent(self, waiting: asyncio.Future[Answer]) -> Answer:
        """Wait as long as it says anything, on either of its outputs."""
        try:
            while True:
                left = self._heard_at + self._silent_within - _now()
                done, _ = await asyncio.wait([waiting], timeout=max(left, 0))
                if done:
                    return waiting.result()
                if _now() >= self._heard_at + self._silent_within:
                    raise RetryableConnectorError(
                        f"{self._name} has said nothing for {self._silent_within:g} s: it hangs, "
                        "or silent_within is too short for it"
                    )
        finally:
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(waiting, return_exceptions=True)

    async def _listen(self) -> None:
        """Pass on what it logs, line by line."""
        stream = self._process.stderr if self._process else None
        rest = b""
        while stream is not None:
            chunk = await stream.read(_CHUNK)
            self._heard_at = _now()
            *whole, rest = (rest + chunk).split(b"\n")
            if not chunk:
                whole = [rest]
            for line in whole:
                self.heard(line.decode(errors="replace"))
            rest = rest[-_LOG_LINE:]
            if not chunk:
                return


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if _INHERITED.fullmatch(name)}


def _now() -> float:
    return asyncio.get_running_loop().time()
