"""How job ids reach workers."""

from milepost.brokers.broker import Broker
from milepost.brokers.sql import SqlBroker

__all__ = ["Broker", "SqlBroker"]
