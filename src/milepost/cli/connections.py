"""`milepost connections`: sources by name, with credentials that nobody sees again."""

from dataclasses import asdict
from typing import Annotated, Any, TypeVar

import typer

from milepost.app import Milepost
from milepost.cli import keys, loading, sources
from milepost.cli.asking import confirm, read_secret
from milepost.cli.exits import DONE, exits
from milepost.cli.flags import SourceFlags, takes_source
from milepost.cli.output import Output
from milepost.cli.trying import try_source
from milepost.connections import Listed, make_key, names_in
from milepost.connectors import Source, dump_source
from milepost.connectors.connection.source import ConnectionSource
from milepost.downloads import Sources
from milepost.errors import ConfigurationError, FatalConnectorError, SecretKeyUnfit
from milepost.services import svcs

R = TypeVar("R")

app = typer.Typer(
    help="Sources by name, with their credentials encrypted; see docs/connections.md.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="The connection's name.", metavar="NAME")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON for programs.")]


@app.command()
@exits
@takes_source
def add(
    flags: SourceFlags,
    name: Name,
    secret: Annotated[
        list[str] | None,
        typer.Option(help="Read the value of $NAME from a prompt or a line of standard input."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of one with this name.")
    ] = False,
    json: JsonOption = False,
) -> int:
    """Store a source under a name.

    Secrets that are typed or read are encrypted; a $NAME without --secret stays a variable of the
    worker's environment.
    """
    kept = sources.Kept(prefix="")
    source = flags.described(kept)
    credentials = {**kept.values, **_read_secrets(source, secret or [])}
    output = Output(json=json)

    async def store(milepost: Milepost) -> None:
        if credentials:
            await keys.make(milepost, output)
        await milepost.connections.add(name, source, credentials, replace=replace)

    loading.with_store(store)
    output.say(f"{name} is stored, with {_said(credentials)}. Try it: milepost connections test "
               f"{name}")  # fmt: skip
    output.emit({"event": "added", "connection": name, "credentials": sorted(credentials)})
    return DONE


@app.command("test")
@exits
def try_connection(name: Name, json: JsonOption = False) -> int:
    """Ask the source for a page of each table, and say what works; exit 1 where something fails."""
    output = Output(json=json)

    async def tried(milepost: Milepost) -> int:
        async with svcs.Container(milepost.services) as container:
            opened = await container.aget(Sources)
            found = await opened.find(ConnectionSource(name=name))
            return await try_source(opened, found, output, connection=name)

    return loading.with_store(tried)


@app.command("list")
@exits
def list_connections(json: JsonOption = False) -> int:
    """List the connections."""
    output = Output(json=json)
    found = loading.with_store(lambda milepost: milepost.connections.listed())
    for each in found:
        output.emit(
            {
                "connection": each.name, "kind": each.source and each.source.kind,
                "address": _address(each.source), "encrypted": each.encrypted,
                "created_at": each.created_at, "updated_at": each.updated_at,
            }
        )  # fmt: skip
    if not found:
        output.say("no connections")
        return DONE
    output.table(
        ["name", "kind", "address", "credentials", "updated"],
        [
            [
                each.name, each.source.kind if each.source else "damaged", _address(each.source),
                "encrypted" if each.encrypted else "none", f"{each.updated_at:%Y-%m-%d %H:%M:%S}",
            ]
            for each in found
        ],
    )  # fmt: skip
    return DONE


@app.command()
@exits
def show(name: Name, json: JsonOption = False) -> int:
    """Show a connection: its source, and the names of its credentials."""
    output = Output(json=json)

    async def read(milepost: Milepost) -> int:
        listed = await milepost.connections.look(name)
        source = _whole(listed)
        names = names_in(source)
        own: list[str] = []
        problem = None
        try:
            own = sorted((await milepost.connections.find(name)).credentials)
        except SecretKeyUnfit as error:
            problem = str(error)
        described = dump_source(source)
        for field, value in described.items():
            if value not in (None, "", [], {}):
                output.say(f"{field:<16} {value}")
        output.say(f"{'credentials':<16} {', '.join(own) or 'none'}")
        if problem is None:
            others = [each for each in names if each not in own]
            output.say(f"{'environment':<16} {', '.join(others) or 'none'}")
        output.emit(
            {
                "connection": name, "source": described, "credentials": own, "refers_to": names,
                "created_at": listed.created_at, "updated_at": listed.updated_at,
                "problem": problem,
            }
        )  # fmt: skip
        if problem is not None:
            raise SecretKeyUnfit(problem)
        return DONE

    return loading.with_store(read)


@app.command("set")
@exits
def set_credential(
    name: Name,
    credential: Annotated[str, typer.Argument(help="Its name, without $.", metavar="CREDENTIAL")],
    json: JsonOption = False,
) -> int:
    """Put a new value behind a $NAME, read from a prompt or standard input."""
    output = Output(json=json)

    async def store(milepost: Milepost) -> None:
        known = names_in(_whole(await milepost.connections.look(name)))
        # Before anybody types a secret for nothing.
        _check_known(credential.removeprefix("$"), known, f"the connection {name!r}")
        await keys.make(milepost, output)
        value = read_secret(credential)
        await milepost.connections.set_credential(name, credential.removeprefix("$"), value)

    loading.with_store(store)
    output.say(f"{credential} of {name} is set; it counts from the next attempt of a job on")
    output.emit({"event": "set", "connection": name, "credential": credential})
    return DONE


@app.command("rm")
@exits
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: JsonOption = False,
) -> int:
    """Forget a connection and its credentials."""
    output = Output(json=json)

    async def forget(milepost: Milepost) -> bool:
        await milepost.connections.look(name)
        if not confirm(f"Forget the connection {name!r} and its credentials?", yes=yes):
            return False
        await milepost.connections.remove(name)
        return True

    removed = loading.with_store(forget)
    output.say(f"{name} is forgotten" if removed else "nothing was changed")
    output.emit({"event": "removed" if removed else "kept", "connection": name})
    return DONE


@app.command()
@exits
def rotate(
    forget: Annotated[
        bool, typer.Option("--forget", help="Give up what no key decrypts any more.")
    ] = False,
    json: JsonOption = False,
) -> int:
    """Encrypt everything again, with the first of the keys."""
    output = Output(json=json)
    done = loading.with_store(lambda milepost: milepost.connections.rotate(forget=forget))
    output.say(
        f"{done.connections} connections, {done.tokens} tokens and {done.routes} routes are "
        "encrypted with the first key"
    )
    output.emit({"event": "rotated", **asdict(done)})
    return DONE


@app.command()
@exits
def key(json: JsonOption = False) -> int:
    """Make a key for MILEPOST_SECRET_KEY, and print it."""
    output = Output(json=json)
    made = make_key()
    output.say(made)
    output.emit({"key": made})
    return DONE


def _read_secrets(source: Source, names: list[str]) -> dict[str, str]:
    known = names_in(source)
    for each in names:
        _check_known(each.removeprefix("$"), known, "this source")
    return {name: read_secret(name) for name in (each.removeprefix("$") for each in names)}


def _check_known(name: str, known: list[str], where: str) -> None:
    if name not in known:
        there = ", ".join(f"${each}" for each in known) or "none"
        raise ConfigurationError(f"{where} has no ${name}; it has: {there}")


def _whole(listed: Listed) -> Source:
    if listed.source is None:
        raise FatalConnectorError(listed.problem or "")
    return listed.source


def _address(source: Source | None) -> str:
    """Where a source is, in one word, whatever its kind calls that."""
    fields: dict[str, Any] = {} if source is None else dump_source(source)
    return next((str(fields[name]) for name in ("url", "path") if fields.get(name)), "")


def _said(credentials: dict[str, str]) -> str:
    if not credentials:
        return "no credentials of its own"
    return f"the credentials {', '.join(sorted(credentials))}, encrypted"
