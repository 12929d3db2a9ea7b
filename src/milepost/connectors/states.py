"""What frameworks for sources keep between two runs."""

from collections.abc import Collection
from typing import Any


def says_nothing(state: Any, *, beside: Collection[str] = ()) -> bool:
    """Whether a state names tables, but no place in any of them.

    Where the next run would begin at the beginning anyway, it reads all, and may tell what is gone.
    `beside` are names of facts that are no places.
    """
    match state:
        case dict():
            return all(
                name in beside or says_nothing(each, beside=beside) for name, each in state.items()
            )
        case list():
            return all(says_nothing(each, beside=beside) for each in state)
        case _:
            return state is None
