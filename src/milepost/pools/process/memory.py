"""Lets the kernel refuse a handler what is far past its memory limit."""

import resource
import sys
from pathlib import Path
from typing import Final

# A handler that allocates without end is refused at this many times its limit. At once it is
# noticed by its size, but only ten times a second.
REFUSED_AT: Final = 2


def allow_memory(limit: int | None) -> tuple[int, int] | None:
    """Let the kernel refuse what is far past the limit; returns what was allowed before."""
    if limit is None or sys.platform != "linux":
        return None
    before = resource.getrlimit(resource.RLIMIT_DATA)
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    wanted = pages * resource.getpagesize() + REFUSED_AT * limit
    soft = wanted if before[0] == resource.RLIM_INFINITY else min(wanted, before[0])
    resource.setrlimit(resource.RLIMIT_DATA, (soft, before[1]))
    return before


def allow_again(before: tuple[int, int] | None) -> bool:
    """Allow again what was allowed before; False where the handler has made that impossible."""
    if before is None:
        return True
    try:
        resource.setrlimit(resource.RLIMIT_DATA, before)
    except (OSError, ValueError):
        return False
    return True
