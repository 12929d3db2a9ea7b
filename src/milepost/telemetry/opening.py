"""Opens what is wanted; the packages of the extra are imported only then."""

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from milepost.errors import ConfigurationError
from milepost.jobs.registry import Registry
from milepost.redis import Link
from milepost.settings import TelemetrySettings
from milepost.store.database import Database
from milepost.telemetry.plain import PlainFormatter
from milepost.telemetry.redacting import Redactor

if TYPE_CHECKING:
    from milepost.telemetry.metrics import Metrics
    from milepost.telemetry.traces import Traces

EXTRA = "pip install 'milepost[telemetry]'"


def open_tracing(settings: TelemetrySettings) -> "Traces | None":
    """Open traces, if they are on. Raises ConfigurationError without the extra."""
    if settings.traces == "off":
        return None
    try:
        from milepost.telemetry.traces import Traces
    except ImportError as error:
        raise _missing("MILEPOST_TRACES=on", error) from None
    return Traces()


def open_metrics(
    registry: Registry,
    database: Database,
    link: Link | None,
    *,
    served: Iterable[str],
    most_queues: int,
) -> "Metrics":
    """Make the metrics of a process. Raises ConfigurationError without the extra."""
    try:
        from milepost.telemetry.metrics import Metrics
        from milepost.telemetry.names import Names
        from milepost.telemetry.standing import Standing
    except ImportError as error:
        raise _missing("metrics", error) from None
    kinds = Names([each.kind for each in registry], most=0)
    queues = Names([*(each.queue for each in registry), *served], most=most_queues)
    return Metrics(kinds, queues, Standing(database, link, queues))


def log_formatter(
    format_: Literal["text", "console", "json"], environment: Mapping[str, str]
) -> logging.Formatter:
    """Make the formatter of a program's log. Raises ConfigurationError without the extra."""
    redactor = Redactor(environment)
    if format_ == "text":
        return PlainFormatter(redactor)
    try:
        from milepost.telemetry.lines import formatter_of
    except ImportError as error:
        raise _missing(f"MILEPOST_LOG_FORMAT={format_}", error) from None
    return formatter_of(format_, redactor)


def equip(settings: TelemetrySettings) -> "Traces | None":
    """Make a child process log and trace as its worker does."""
    if settings.log_format != "text":
        from milepost.telemetry.lines import pass_on_structlog

        pass_on_structlog()
    return open_tracing(settings)


def _missing(what: str, error: ImportError) -> ConfigurationError:
    return ConfigurationError(f"{what}: the package {error.name} is missing: {EXTRA}")
