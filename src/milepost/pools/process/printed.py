"""What a child process prints to its standard error: passed on, and its last lines kept."""

import asyncio
import contextlib
import os
import sys
from collections import deque
from typing import Final

LINES_KEPT: Final = 40
LONGEST_LINE: Final = 500
_LONGEST_UNBROKEN: Final = 8000


class Printed:
    """Where an interpreter that crashes says why."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)

    async def read(self, descriptor: int) -> None:
        """Read until nobody writes any more."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
        )
        rest = b""
        try:
            while read := await reader.read(65536):
                # Whole lines, so that those of several children do not mix.
                *lines, rest = (rest + read).split(b"\n")
                self._keep(lines)
                if len(rest) > _LONGEST_UNBROKEN:
                    self._keep([rest])
                    rest = b""
        finally:
            self._keep([rest] if rest else [])
            transport.close()

    def _keep(self, lines: list[bytes]) -> None:
        spelled = [line.decode(errors="backslashreplace") for line in lines]
        self.lines.extend(line[:LONGEST_LINE] for line in spelled)
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write("".join(f"{line}\n" for line in spelled))
            sys.stderr.flush()
