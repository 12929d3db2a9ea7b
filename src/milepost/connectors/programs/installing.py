"""Finds the program of a source, and installs it where the source says how."""

import asyncio
import fcntl
import hashlib
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from milepost.errors import FatalConnectorError, RetryableConnectorError

Run = Callable[[Sequence[str]], Awaitable[object]]
"""Runs a program to its end; raises a ConnectorError where that is no good one."""

_ASK_EVERY: Final = 0.2


async def program_of(name: str, *, venv: str | None, package: str | None, run: Run) -> str:
    """Find a program by its name or path; a package is installed on its first use.

    Raises FatalConnectorError that says how to have it.
    """
    folder = None if venv is None else _home(venv)
    if package is not None:
        folder = cache_of(package)
        await _install(package, folder, run)
    if folder is not None:
        return _executable(folder / "bin" / name)
    if os.sep in name:
        return _executable(_home(name))
    found = shutil.which(name)
    if found is None:
        raise FatalConnectorError(
            f"no program {name} on the PATH of the worker: install it there, or say where it is "
            f"with --option venv=FOLDER, or what to install with --option package={name}"
        )
    return str(_absolute(found))


def cache_of(package: str) -> Path:
    """Name the folder of a package's own environment; another Python has another."""
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    slug = re.sub(r"\W+", "-", package).strip("-")
    told = f"{package} {sys.executable} {sys.version}"
    digest = hashlib.sha256(told.encode()).hexdigest()[:12]
    return Path(root).expanduser() / "milepost" / "programs" / f"{slug}-{digest}"


async def _install(package: str, folder: Path, run: Run) -> None:
    ready = folder / ".ready"
    if ready.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    async with _only_one(folder.with_name(f"{folder.name}.lock")):
        if ready.exists():
            return
        # What an interrupted installation has left is no environment.
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        await run([sys.executable, "-m", "venv", str(folder)])
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        try:
            await run([*pip, "install", "--quiet", *package.split()])
        except RetryableConnectorError as error:
            raise FatalConnectorError(f"{package} cannot be installed: {error}") from None
        ready.touch()


@asynccontextmanager
async def _only_one(path: Path) -> AsyncIterator[None]:
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(_ASK_EVERY)
            else:
                break
        yield


def _absolute(path: str) -> Path:
    return Path(path).absolute()


def _home(path: str) -> Path:
    return Path(path).expanduser()


def _executable(path: Path) -> str:
    if not os.access(path, os.X_OK) or path.is_dir():
        raise FatalConnectorError(f"{path} is no program that the worker may run")
    return str(path.absolute())
