"""Where a handler stands: its own line, not one of the library below it; and the whole stack."""

import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from types import FrameType
from typing import Final

_OURS: Final = str(Path(__file__).parent)
_CALLS_HANDLERS: Final = str(Path(__file__).with_name("execution.py"))
# A handler that recurses is no reason for megabytes of log.
MOST_FRAMES: Final = 60

Frames = list[tuple[FrameType, int]]
"""Frames with the line where each stands, the innermost first."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a handler stands: `line` is file:line in function.

    `stack` is all of it, innermost last; None where nobody can look that deep.
    """

    line: str
    stack: str | None


def thread_frame(thread_id: int | None) -> FrameType | None:
    """The innermost frame of a thread."""
    return sys._current_frames().get(thread_id or -1)  # noqa: SLF001 (the documented way)


def called(frame: FrameType | None) -> Frames:
    """A frame and its callers."""
    return [] if frame is None else list(traceback.walk_stack(frame))


def awaited(coroutine: object) -> Frames:
    """A coroutine that waits, and what it awaits; nothing of what is none."""
    frames: Frames = []
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        frames.insert(0, (frame, frame.f_lineno))
        coroutine = getattr(coroutine, "cr_await", None)
    return frames


def place(frames: Frames, handler: Callable[..., object]) -> str | None:
    """Spell where a handler stands, as `file:line in function`.

    Of its own file, where the stack shows one: that is the line its author can change. Else the
    innermost.
    """
    if not frames:
        return None
    own = getattr(getattr(handler, "__code__", None), "co_filename", None)
    frame, line = next((each for each in frames if each[0].f_code.co_filename == own), frames[0])
    return f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"


def whereabouts(frames: Frames, handler: Callable[..., object]) -> Whereabouts | None:
    """Spell where a handler stands, and how it came there from its first line."""
    line = place(frames, handler)
    if line is None:
        return None
    within = takewhile(lambda each: each[0].f_code.co_filename != _CALLS_HANDLERS, frames)
    summary = traceback.StackSummary.extract(iter((list(within) or frames)[:MOST_FRAMES]))
    summary.reverse()
    return Whereabouts(line, "".join(summary.format()))


def local_above(frame: FrameType | None, code_name: str, variable: str) -> object | None:
    """Find a local variable of our own function `code_name` among the callers of a frame."""
    while frame is not None:
        if frame.f_code.co_name == code_name and frame.f_code.co_filename.startswith(_OURS):
            return frame.f_locals.get(variable)
        frame = frame.f_back
    return None
