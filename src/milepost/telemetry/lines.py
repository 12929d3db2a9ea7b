"""The log by structlog: in colour for people, or as JSON for programs."""

import logging
from collections.abc import MutableMapping, Sequence
from typing import Any, Literal

import structlog
from structlog.typing import Processor

from milepost.jobs.scope import scope
from milepost.telemetry.plain import belongs_to
from milepost.telemetry.redacting import Redactor

EventDict = MutableMapping[str, Any]


def add_scope(_: Any, __: str, event: EventDict) -> EventDict:
    """Say of a line which job, attempt, kind, queue and worker it belongs to."""
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event.update(getattr(record, "milepost_fields", {}))
        event.update(belongs_to(record))
    else:
        event.update(scope().known())
    return event


def formatter_of(format_: Literal["console", "json"], redactor: Redactor) -> logging.Formatter:
    """Make the formatter of the program's log, and have structlog write there.

    A structlog that the program has configured itself is left as it is; `add_scope` is a processor
    for it.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_scope,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    _configure(shared)
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if format_ == "json"
        else structlog.dev.ConsoleRenderer(colors=structlog.dev._has_colors)  # noqa: SLF001
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            lambda _, __, event: redactor.fields(event),
            renderer,
        ],
    )


def pass_on_structlog() -> None:
    """Have structlog write into the log of a child process, whose worker formats it."""
    _configure(
        [structlog.contextvars.merge_contextvars, structlog.processors.format_exc_info],
    )


def _configure(processors: Sequence[Processor]) -> None:
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *processors,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
