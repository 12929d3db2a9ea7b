"""Where a thread stands: the line of a handler, not of the library below it."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

_OURS: Final = str(Path(__file__).parent)


def thread_frame(thread_id: int | None) -> FrameType | None:
    """The innermost frame of a thread."""
    return sys._current_frames().get(thread_id or -1)  # noqa: SLF001 (the documented way)


def place(frame: FrameType | None, handler: Callable[..., object]) -> str | None:
    """Spell where a handler stands, as `file:line in function`.

    Of its own file, where the stack shows one: that is the line its author can change. Else the
    innermost.
    """
    if frame is None:
        return None
    own = getattr(getattr(handler, "__code__", None), "co_filename", None)
    above: FrameType | None = frame
    while above is not None:
        if above.f_code.co_filename == own:
            frame = above
            break
        above = above.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"


def local_above(frame: FrameType | None, code_name: str, variable: str) -> object | None:
    """Find a local variable of our own function `code_name` among the callers of a frame."""
    while frame is not None:
        if frame.f_code.co_name == code_name and frame.f_code.co_filename.startswith(_OURS):
            return frame.f_locals.get(variable)
        frame = frame.f_back
    return None
