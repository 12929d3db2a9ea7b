"""`milepost tokens`: who may use the API and the dashboard."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, TypeVar

import typer

from milepost.access import Access, Role
from milepost.cli import loading
from milepost.cli.exits import DONE, exits
from milepost.cli.output import Output
from milepost.errors import ConfigurationError

R = TypeVar("R")

app = typer.Typer(help="Who may use the API and the dashboard.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="JSON for programs.")]


def _with_access(work: Callable[[Access], Awaitable[R]]) -> R:
    return loading.with_store(lambda milepost: work(Access(milepost.database)))


@app.command()
@exits
def create(
    name: Annotated[str, typer.Argument(help="Whom or what it is for.")],
    role: Annotated[str, typer.Option(help="viewer, operator or admin.")] = Role.OPERATOR,
    owner: Annotated[
        str | None, typer.Option(help="It sees and steers this owner's jobs alone.")
    ] = None,
    json: JsonOption = False,
) -> int:
    """Make a token, and show it this once: the store keeps its hash."""
    if role not in list(Role):
        raise ConfigurationError(f"--role takes {', '.join(Role)}, not {role!r}")
    output = Output(json=json)
    token_id, token = _with_access(lambda access: access.create(name, Role(role), owner=owner))
    output.say(f"token {token_id} for {name}, {role}" + (f" of {owner}" if owner else ""))
    output.say(token)
    output.emit({"event": "created", "id": token_id, "token": token})
    return DONE


@app.command("list")
@exits
def list_tokens(json: JsonOption = False) -> int:
    """List the tokens, without what opens anything."""
    output = Output(json=json)
    found = _with_access(lambda access: access.listed())
    for each in found:
        output.emit(asdict(each))
    if not found:
        output.say("no tokens: on this machine the dashboard asks for none")
        return DONE
    output.table(
        ["id", "name", "role", "owner", "created", "revoked"],
        [
            [
                str(each.id), each.name, each.role, each.owner or "",
                f"{each.created_at:%Y-%m-%d %H:%M:%S}",
                f"{each.revoked_at:%Y-%m-%d %H:%M:%S}" if each.revoked_at else "",
            ]
            for each in found
        ],
    )  # fmt: skip
    return DONE


@app.command()
@exits
def revoke(
    token_id: Annotated[int, typer.Argument(metavar="ID", help="As `list` shows it.", min=1)],
    json: JsonOption = False,
) -> int:
    """Let a token open nothing from now on."""
    _with_access(lambda access: access.revoke(token_id))
    output = Output(json=json)
    output.say(f"token {token_id} is revoked")
    output.emit({"event": "revoked", "id": token_id})
    return DONE
