"""How Redis is reached, and whether it answers."""

from milepost.redis.link import Command, Link
from milepost.redis.opening import describe, open_client

__all__ = ["Command", "Link", "describe", "open_client"]
