"""Finds the application that a command works on."""

import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from milepost.app import Milepost
from milepost.cli.exits import debugging
from milepost.errors import ConfigurationError, SettingInvalid
from milepost.settings import Settings, TelemetrySettings
from milepost.telemetry import log_formatter

R = TypeVar("R")


def settings() -> Settings:
    """Read the environment. Raises SettingInvalid."""
    return Settings.from_environment(os.environ)


def application(reference: str | None) -> Milepost:
    """Import `module:attribute`; without a reference MILEPOST_APP, else only what comes along.

    Raises ConfigurationError that says what was looked for.
    """
    own = settings()
    given_by = "APP" if reference else "MILEPOST_APP"
    reference = reference or own.app
    if not reference:
        return Milepost(settings=own)
    module_name, _, attribute = reference.partition(":")
    if not all(module_name.split(".")):
        raise SettingInvalid(given_by, reference, "module:attribute, such as shop.jobs:milepost")
    # As `python -m` does: an application lies where its people stand.
    sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise ConfigurationError(
            f"no module {module_name!r} here; APP is module:attribute, such as shop.jobs:milepost"
        ) from None
    found = getattr(module, attribute or "milepost", None)
    if not isinstance(found, Milepost):
        has = [name for name, value in vars(module).items() if isinstance(value, Milepost)]
        raise ConfigurationError(
            f"{module_name!r} has no Milepost named {attribute or 'milepost'!r}"
            + (f"; it has: {', '.join(has)}" if has else "")
        )
    return found


def with_store(work: Callable[[Milepost], Awaitable[R]]) -> R:
    """Do something with the store that the environment names, and close it."""

    async def opened() -> R:
        async with Milepost(settings=settings()) as milepost:
            return await work(milepost)

    return asyncio.run(opened())


def format_log(settings: TelemetrySettings) -> None:
    """Write the program's log as the settings say, without the secrets of the environment."""
    formatter = log_formatter(settings.log_format, os.environ)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)


def log_to_stderr(*, quiet: bool = False) -> None:
    """Set up the program's log for a command."""
    debug = debugging()
    level = logging.DEBUG if debug else logging.ERROR if quiet else logging.INFO
    logging.basicConfig(
        level=logging.INFO if debug else logging.WARNING,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("milepost").setLevel(level)
