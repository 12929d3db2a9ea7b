"""Sees to it that the broker carries what the store has."""

from milepost.brokers import Broker


class Dispatcher:
    """Every worker has one; a broker that needs only one at a time sees to that itself."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def tick(self) -> None:
        """Compare once."""
        await self._broker.reconcile()
