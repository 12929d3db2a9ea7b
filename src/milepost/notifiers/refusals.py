"""Why a message was not taken."""


class NotTaken(Exception):
    """Nobody has said that a message arrived.

    `retry_after`: for how many seconds the receiver wants to be left alone.
    """

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
