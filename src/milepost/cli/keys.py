"""Makes the key of what the store keeps encrypted, where one is wanted."""

from milepost.app import Milepost
from milepost.cli.output import Output


async def make(milepost: Milepost, output: Output) -> None:
    """Make a key beside a SQLite store, unless one is there or was; and say so."""
    made = await milepost.connections.ensure_key()
    if made is not None:
        output.say(
            f"A key was made: {made}, which only you can read. Whoever has it and the store reads "
            "the credentials; without it nobody does. Keep a copy apart from both."
        )
        output.emit({"event": "key made", "file": str(made)})
