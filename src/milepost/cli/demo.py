"""`milepost demo`: a real download, from an API that comes along, in ten seconds."""

import asyncio
import shlex
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from milepost import snapshots
from milepost.cli import download, loading
from milepost.cli.output import Output
from milepost.connectors import Secrets, source_from
from milepost.downloads import DownloadRecords
from milepost.settings import RedisSettings
from milepost.store.database import open_database

TOKEN = "demo-token-4711"  # noqa: S105 (guards nothing but the demo)


FILE = Path("milepost-demo.db")


def demo(
    into: Annotated[Path, typer.Option(help="SQLite file to make.")] = FILE,
    quick: Annotated[bool, typer.Option("--quick", help="Without the API's slowness.")] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON lines for programs.")] = False,
) -> int:
    """Download a demo API into SQLite, with live progress.

    The API is real HTTP on this machine, with a rate limit and a failure now and then.
    """
    loading.log_to_stderr(quiet=True)
    return asyncio.run(_demo(into, Output(json=json), quick=quick))


async def _demo(into: Path, output: Output, *, quick: bool) -> int:
    from milepost.demo_api import DemoApi

    api = DemoApi(
        token=TOKEN,
        rate_limit=None if quick else 9,
        burst=12,
        latency=timedelta(0) if quick else timedelta(milliseconds=60),
    )
    url = await api.start()
    try:
        output.say(f"A demo API listens on {url}: /customers and /orders, with a rate limit and")
        output.say(f"a failure now and then. Downloading both into {into}:\n")
        args = DownloadRecords(
            # Its port is another one in each run; the download is the same.
            source=source_from(
                "$MILEPOST_DEMO_API",
                tables=["customers", "orders"],
                headers={"Authorization": "Bearer $MILEPOST_DEMO_TOKEN"},
            ),
            into=str(into),
        )
        again = shlex.join(["milepost", "demo", *([] if into == FILE else ["--into", str(into)])])
        secrets = Secrets({"MILEPOST_DEMO_API": url, "MILEPOST_DEMO_TOKEN": TOKEN})
        # The embedded default, whatever the environment says: it shall show what needs no server.
        settings = replace(
            loading.settings(), database_url=f"sqlite:///{into}", redis=RedisSettings()
        )
        plan = download.Plan(args, again=again, names_store=True)
        code = await download.run([plan], settings, secrets, output)
    finally:
        await api.aclose()
    if code == 0:
        _show(into, again, output)
    return code


def _show(into: Path, again: str, output: Output) -> None:
    database = open_database(str(into))
    try:
        with database.read() as conn:
            tables = snapshots.list_tables(conn)
            samples = {
                table.name: snapshots.read_rows(conn, table.name, limit=3) for table in tables
            }
    finally:
        database.close()
    for table in tables:
        output.say(f"\n{table.name}: {table.rows:,} rows")
        columns = [
            column.name for column in table.columns if column.kind is not snapshots.Kind.JSON
        ][:6]
        output.table(
            columns, [[_cell(row.get(name)) for name in columns] for row in samples[table.name]]
        )
    output.say(
        f"\nThe records are in {into}, each a row of a typed table, with the job's history.\n"
        "Try next:\n"
        f"  {again}\n"
        "      again: rows are updated, none is doubled. Stop it half way (Ctrl-C, or kill -9),\n"
        "      run it again: it goes on at the next page\n"
        f"  export DATABASE_URL={shlex.quote(f'sqlite:///{into}')}\n"
        "  milepost jobs list\n"
        "  milepost jobs cancel ID\n"
        "      while it runs, from another terminal\n"
        "  milepost download URL --into shop.db\n"
        "      your own API"
    )


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 28 else f"{text[:27]}…"  # noqa: PLR2004
