"""Whether a Redis may be trusted with jobs that only it knows of until they are adopted."""

import re
from typing import Any, Final

from milepost.errors import RedisUnfit
from milepost.redis import Link

OLDEST: Final = (6, 2)


def ensure_fit(link: Link, store_id: str) -> None:
    """Refuse a Redis that would lose jobs in silence, or that serves another store.

    Raises RedisUnfit in one line, or RedisAway.
    """
    for problem, todo in problems(link):
        raise RedisUnfit(f"{link.name} {problem}: {todo}")
    take_ownership(link, store_id)


def take_ownership(link: Link, store_id: str) -> None:
    """Take the prefix for this store. Raises RedisUnfit where it is another's."""
    link.call("SET", _owner_key(link), store_id, "NX")
    ensure_owned(link, store_id)


def ensure_owned(link: Link, store_id: str) -> None:
    """Refuse the prefix of another store. Raises RedisUnfit in one line, or RedisAway."""
    key = _owner_key(link)
    if link.call("GET", key) not in (None, store_id):
        raise RedisUnfit(
            f"{link.name} already serves another store under the prefix {link.settings.prefix}, "
            "whose jobs have the same numbers: set MILEPOST_REDIS_PREFIX to another prefix, or, "
            f"if that store is gone, delete the key {key} there"
        )


def _owner_key(link: Link) -> str:
    return f"{link.settings.prefix}:store"


def problems(link: Link) -> list[tuple[str, str]]:
    """What is wrong with a Redis, and what to do, the worst first."""
    info = read_info(link)
    found: list[tuple[str, str]] = []
    version = tuple(int(part) for part in re.findall(r"\d+", info.get("redis_version", ""))[:2])
    if version < OLDEST:
        found.append(
            (
                f"is version {info.get('redis_version')}",
                "BullMQ needs Redis 6.2 or newer, or Valkey",
            )
        )
    if info.get("role") != "master":
        found.append(("is a replica, which takes no writes", "give the address of its master"))
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and info.get("maxmemory") not in (None, "0"):
        evicts = f"evicts keys when it is full (maxmemory-policy {policy})"
        found.append(
            (f"{evicts}, so jobs that other programs add may vanish", "set it to noeviction")
        )
    return found


def read_info(link: Link) -> dict[str, str]:
    """What Redis says of itself."""
    text: Any = link.call("INFO")
    lines = [line.partition(":") for line in str(text).splitlines() if ":" in line]
    return {name: value for name, _, value in lines}
