"""`milepost sources`: which kinds there are, and what of a source works."""

import asyncio
import json as json_module
import os
from typing import Annotated

import typer

from milepost.cli import sources
from milepost.cli.exits import DONE, exits
from milepost.cli.flags import SourceFlags, takes_source
from milepost.cli.output import Output
from milepost.cli.trying import try_source
from milepost.connectors import Secrets, kind_names, kind_of, schema_of
from milepost.downloads import Sources

app = typer.Typer(help="The kinds of sources; see docs/sources.md.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="JSON for programs.")]


@app.command("list")
@exits
def list_kinds(json: JsonOption = False) -> int:
    """List the kinds of sources, with the fields that --option sets."""
    output = Output(json=json)
    kinds = [kind_of(name) for name in kind_names()]
    output.table(["kind", "fields"], [[kind.name, ", ".join(kind.fields())] for kind in kinds])
    for kind in kinds:
        output.emit({"kind": kind.name, "fields": kind.fields()})
    return DONE


@app.command()
@exits
def schema(
    kind: Annotated[str, typer.Argument(help="The kind's name.", metavar="KIND")] = "http",
) -> int:
    """Print the JSON Schema of a kind, for editors."""
    typer.echo(json_module.dumps(schema_of(kind), indent=2))
    return DONE


@app.command("test")
@exits
@takes_source
def try_named(flags: SourceFlags, json: JsonOption = False) -> int:
    """Ask a source for a page of each table, and say what works; nothing is stored."""
    kept = sources.Kept()
    described = flags.described(kept)

    async def tried() -> int:
        opened = Sources(Secrets(sources.merged(kept, os.environ)))
        return await try_source(opened, await opened.find(described), Output(json=json))

    return asyncio.run(tried())
