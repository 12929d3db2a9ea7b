"""The queue is BullMQ itself: Node programs and BullMQ's own tools see it and use it."""

from milepost.brokers.bullmq.broker import BullmqBroker
from milepost.brokers.bullmq.fitness import ensure_fit

__all__ = ["BullmqBroker", "ensure_fit"]
