"""The queue is BullMQ itself: Node programs and BullMQ's own tools see it and use it."""

from milepost.brokers.bullmq.broker import BullmqBroker

__all__ = ["BullmqBroker"]
