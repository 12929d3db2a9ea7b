"""Receive, claim, run, settle; one background role in each file."""

from milepost.worker.worker import Beside, OpenBroker, Worker

__all__ = ["Beside", "OpenBroker", "Worker"]
