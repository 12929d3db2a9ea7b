"""Receive, claim, run, settle; one background role in each file."""

from milepost.worker.worker import OpenBroker, Worker

__all__ = ["OpenBroker", "Worker"]
