"""How a process ended, in words for who must find out why."""

import signal
from collections.abc import Iterable

from milepost.pools.process.child import CHANNEL_LOST
from milepost.pools.process.launcher import Ending


def spell_ending(ended: Ending, killed_for: str | None) -> str:
    """Say in one sentence how a process ended that ran a handler."""
    if ended.peak_memory is None:
        return "its process was killed together with the one that starts all child processes"
    memory = f"; it used {spell_size(ended.peak_memory)} of memory at most"
    if killed_for is not None:
        return f"its process was killed: {killed_for}{memory}"
    if ended.code == CHANNEL_LOST:
        return (
            "its process lost its connection to the worker, as when a handler closes files that "
            f"are not its own{memory}"
        )
    if ended.code >= 0:
        return f"its process left with exit code {ended.code} while the handler ran{memory}"
    number = -ended.code
    name = signal.Signals(number).name if number in set(signal.Signals) else "unknown"
    by = ", by somebody or by the system for want of memory" if number == signal.SIGKILL else ""
    return f"its process was killed by signal {number} ({name}){by}{memory}"


def spell_last(printed: Iterable[str], logged: Iterable[str]) -> str | None:
    """Show what a process printed and logged last; None: nothing."""
    parts = (("printed last", list(printed)), ("logged last", list(logged)))
    return "\n".join("\n".join([f"{what}:", *lines]) for what, lines in parts if lines) or None


def spell_size(size: int) -> str:
    """Spell an amount of memory."""
    return f"{size / 1_000_000:,.0f} MB"
