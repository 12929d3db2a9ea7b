"""Logs, metrics and traces: observers of events."""

from milepost.telemetry.logs import log_event
from milepost.telemetry.opening import equip, log_formatter, open_metrics, open_tracing

__all__ = ["equip", "log_event", "log_formatter", "open_metrics", "open_tracing"]
