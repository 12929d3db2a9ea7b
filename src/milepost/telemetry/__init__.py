"""Logs, metrics and traces: observers of events."""
