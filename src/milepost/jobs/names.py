"""What a queue may be called, so that every part can say its name."""

from typing import Final

LONGEST_NAME: Final = 200
# BullMQ's range, so that one number means one thing on both brokers.
LOWEST_PRIORITY: Final = 2**21 - 1

# Of an address: / \ ? # %; of BullMQ's keys: the colon; of a list in a setting: , and =.
_TAKEN: Final = "/\\?#%:,="


def check_queue(name: str) -> str:
    """Give back what can name a queue. Raises ValueError that says what cannot stand in it."""
    # Clients of HTTP take . and .. out of an address.
    fits = (
        0 < len(name) <= LONGEST_NAME
        and name.isprintable()
        and name == name.strip()
        and name not in (".", "..")
        and not set(_TAKEN).intersection(name)
    )
    if not fits:
        raise ValueError(
            f"{name!r} cannot name a queue: a name has 1 to {LONGEST_NAME} printable characters, "
            f"none of {' '.join(_TAKEN)}, no space at its ends, and is not . or .."
        )
    return name
