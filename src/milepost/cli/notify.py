"""`milepost notify`: who is told of failures."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import typer

from milepost.app import Milepost
from milepost.cli import keys, loading
from milepost.cli.asking import read_secret
from milepost.cli.exits import DONE, FAILED, exits
from milepost.cli.output import Output
from milepost.errors import ConfigurationError
from milepost.notifiers import Address, NotTaken, make_secret, send
from milepost.notifiers.messages import Message
from milepost.store.notices import About

app = typer.Typer(
    help="Who is told of failed jobs, late queues and gone workers.", no_args_is_help=True
)

JsonOption = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
RouteArgument = Annotated[str, typer.Argument(help="The route's name.", metavar="NAME")]


@app.command()
@exits
def add(
    name: RouteArgument,
    address: Annotated[
        str | None,
        typer.Argument(
            help="https://… for a signed webhook, or a URL of Apprise: mailto://, slack://, "
            "msteams:// … Without it: from a prompt or a line of standard input."
        ),
    ] = None,
    on: Annotated[
        list[str] | None, typer.Option(help=f"Only of {', '.join(About)}; may be given again.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only of jobs of this kind.")] = None,
    queue: Annotated[str | None, typer.Option(help="Only of this queue.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only of this owner's jobs.")] = None,
    secret: Annotated[
        str | None, typer.Option(help="What signs a webhook, whsec_…; without it one is made.")
    ] = None,
    json: JsonOption = False,
) -> int:
    """Tell an address of what happens from now on. Addresses are kept encrypted."""
    about = [_about(each) for each in on or []]
    output = Output(json=json)
    to = Address(address or read_secret("ADDRESS"), secret)
    made = make_secret() if to.is_webhook and secret is None else None
    if made is not None:
        to = Address(to.url, made)

    async def store(milepost: Milepost) -> None:
        await keys.make(milepost, output)
        await milepost.routes.add(name, to, about=about, kind=kind, queue=queue, owner=owner)

    loading.with_store(store)
    output.say(f"{name} is told at {to.shown}. Try it: milepost notify test {name}")
    if made is not None:
        output.say(f"Its messages are signed with {made}, which is shown this once")
    output.emit({"event": "added", "route": name, "secret": made})
    return DONE


@app.command("list")
@exits
def list_routes(json: JsonOption = False) -> int:
    """List the routes, what waits for each, and why one takes nothing."""
    output = Output(json=json)
    found = loading.with_store(lambda milepost: milepost.routes.listed())
    for each in found:
        output.emit(asdict(each))
    if not found:
        output.say("nobody is told of anything")
        return DONE
    output.table(
        ["name", "address", "told of", "kind", "queue", "owner", "last", "waiting", "problem"],
        [
            [
                each.name, each.shown,
                "all" if len(each.about) == len(About) else ", ".join(each.about),
                each.kind or "", each.queue or "", each.owner or "",
                f"{each.sent_at:%Y-%m-%d %H:%M:%S}" if each.sent_at else "",
                str(each.waiting), each.error or "",
            ]
            for each in found
        ],
    )  # fmt: skip
    return DONE


@app.command("test")
@exits
def try_route(name: RouteArgument, json: JsonOption = False) -> int:
    """Send a message to a route now; exit 1 where it is not taken."""
    output = Output(json=json)
    now = datetime.now(UTC)
    message = Message(
        str(uuid4()), now, "Milepost: a test", "This route works.", counts={}, groups=(), left_out=0
    )

    async def tried(milepost: Milepost) -> str | None:
        try:
            await send(await milepost.routes.address(name), message)
        except NotTaken as error:
            return str(error)
        return None

    problem = loading.with_store(tried)
    output.say(
        f"{name} has taken a message" if problem is None else f"{name} took nothing: {problem}"
    )
    output.emit({"event": "sent" if problem is None else "not sent", "problem": problem})
    return DONE if problem is None else FAILED


@app.command("rm")
@exits
def remove(name: RouteArgument, json: JsonOption = False) -> int:
    """Tell a route nothing more, not even what waits for it."""
    loading.with_store(lambda milepost: milepost.routes.remove(name))
    output = Output(json=json)
    output.say(f"{name} is told nothing more")
    output.emit({"event": "removed", "route": name})
    return DONE


def _about(word: str) -> About:
    if word not in list(About):
        raise ConfigurationError(f"--on takes {', '.join(About)}, not {word!r}")
    return About(word)
