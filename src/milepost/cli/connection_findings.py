"""What `milepost doctor` looks at in the stored connections."""

from sqlalchemy.exc import DBAPIError

from milepost.app import Milepost
from milepost.cli.findings import Finding
from milepost.errors import MilepostError


async def look_at_connections(milepost: Milepost) -> list[Finding]:
    """Say whether everything that is encrypted can be read here."""
    try:
        found = await milepost.connections.check()
    except (DBAPIError, OSError, MilepostError):
        # The store itself is what is wrong, and has a finding of its own.
        return []
    todo = "see docs/connections.md, on keys"
    if found.problems:
        return [Finding("connections", False, problem, todo) for problem in found.problems]
    said = f"{found.connections} connections and {found.tokens} tokens, all can be read"
    if found.of_older_keys:
        said += f"; {found.of_older_keys} with an older key: run `milepost connections rotate`"
    return [Finding("connections", True, said)]
