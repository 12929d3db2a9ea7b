"""A Node program with BullMQ, as a test talks to it."""

import asyncio
import json
import os
import shutil
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from milepost.settings import RedisSettings

PROGRAM = Path(__file__).parent.parent / "node" / "program.cjs"
PATIENCE = 60.0


def node() -> str:
    """Node's binary, with BullMQ beside the program; where they are missing there is no test."""
    binary = shutil.which("node")
    if binary is None or not (PROGRAM.parent / "node_modules" / "bullmq").exists():
        reason = "Node or the npm package bullmq is missing: install Node.js, then `make test`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return binary


class NodeProgram:
    """One Node process; each call is one line to it and one back."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ids = count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, settings: RedisSettings) -> "NodeProgram":
        process = await asyncio.create_subprocess_exec(
            node(), str(PROGRAM), settings.url or "", settings.prefix,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        return cls(process)

    async def __call__(self, op: str, **told: Any) -> Any:
        number = next(self._ids)
        answered = self._answers[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        line = json.dumps({"id": number, "op": op, **told})
        self._process.stdin.write(line.encode() + b"\n")
        answer = await asyncio.wait_for(answered, PATIENCE)
        assert "error" not in answer, answer["error"]
        return answer.get("is")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            answer = json.loads(line)
            self._answers.pop(answer["id"]).set_result(answer)
        for waiting in self._answers.values():
            waiting.set_exception(RuntimeError("the Node program has ended"))

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.wait_for(self._process.wait(), PATIENCE)
        await self._reading
