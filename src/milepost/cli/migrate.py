"""`milepost migrate`: make or update the store's tables."""

from typing import Annotated

import typer

from milepost.cli import loading
from milepost.cli.output import Output
from milepost.store import schema
from milepost.store.database import open_database


def migrate(
    json: Annotated[bool, typer.Option("--json", help="JSON for programs.")] = False,
) -> int:
    """Bring the tables of DATABASE_URL to this version. Safe to run twice, and from many hosts."""
    output = Output(json=json)
    database = open_database(loading.settings().database_url)
    try:
        before = schema.migrate(database)
        with database.read() as conn:
            now = schema.version(conn)
    finally:
        database.close()
    was = "no tables" if before is None else f"version {before}"
    done = "nothing to do" if before == now else f"it had {was}"
    output.say(f"{database.url} is at version {now}: {done}")
    output.emit({"event": "migrated", "from": before, "to": now})
    return 0
