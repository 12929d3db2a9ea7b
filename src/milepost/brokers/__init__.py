"""How job ids reach workers."""

from milepost.brokers.broker import Broker
from milepost.brokers.moving import announce, stop_children
from milepost.brokers.opening import ensure_fit, open_broker
from milepost.brokers.sql import SqlBroker

__all__ = ["Broker", "SqlBroker", "announce", "ensure_fit", "open_broker", "stop_children"]
