"""Who may come in, by a token or because nobody else can reach the port."""

import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from fastapi import Depends, Request

from milepost.access import Access, Caller, Role
from milepost.web.problems import Refused

COOKIE: Final = "milepost_token"
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Openness:
    """Who gets in while there is no token. `anyone`: who reaches the port; else only this host."""

    anyone: bool = False


class Guard:
    """Tells who asks. One for each application."""

    def __init__(self, access: Access, openness: Openness) -> None:
        self.access = access
        self._openness = openness

    async def caller(self, request: Request) -> Caller:
        """Say who asks. Raises Refused: 401 for nobody, 403 for a page of somebody else's."""
        bearer = _bearer(request)
        if bearer is None and request.method not in SAFE:
            self.check_origin(request)
        token = bearer or request.cookies.get(COOKIE)
        if token is not None:
            caller = await self.access.caller(token)
            if caller is None:
                raise _unknown("this token opens nothing: it is none, or it was revoked")
            return caller
        if await self.access.needed():
            raise _unknown("a token is needed: Authorization: Bearer <token>")
        if not self._openness.anyone:
            _check_host(request)
        return Caller("anyone", Role.ADMIN)

    @staticmethod
    def check_origin(request: Request) -> None:
        """Refuse what another site's page has a browser send: it would send the cookie along."""
        site = request.headers.get("sec-fetch-site")
        origin = request.headers.get("origin")
        if site is not None:
            same = site in ("same-origin", "none")
        elif origin is not None:
            same = urlsplit(origin).netloc == request.headers.get("host")
        else:
            return  # No browser.
        if not same:
            raise Refused(403, "Not allowed", "the request comes from a page of another site")


def guard_of(request: Request) -> Guard:
    """Find the application's guard."""
    guard: Guard = request.app.state.guard
    return guard


async def caller_of(request: Request) -> Caller:
    """Say who asks; a dependency of all routes but those that say whether the service is well."""
    return await guard_of(request).caller(request)


def _needs(role: Role, *, of_all: bool = False) -> Callable[..., Awaitable[Caller]]:
    async def checked(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
        if not caller.role.may(role):
            raise Refused(
                403, "Not allowed", f"this needs the role {role}, and {caller.name!r} is "
                f"{caller.role}",
            )  # fmt: skip
        if of_all and caller.owner is not None:
            raise Refused(
                403, "Not allowed",
                f"this is of all owners, and {caller.name!r} is bound to {caller.owner!r}",
            )  # fmt: skip
        return caller

    return checked


Viewer = Annotated[Caller, Depends(_needs(Role.VIEWER))]
Operator = Annotated[Caller, Depends(_needs(Role.OPERATOR))]
ViewerOfAll = Annotated[Caller, Depends(_needs(Role.VIEWER, of_all=True))]
OperatorOfAll = Annotated[Caller, Depends(_needs(Role.OPERATOR, of_all=True))]
Admin = Annotated[Caller, Depends(_needs(Role.ADMIN, of_all=True))]


def _bearer(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _check_host(request: Request) -> None:
    """Refuse another machine, and a name that a page of another site has had pointed at this."""
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname
    if not is_this_machine(address_of(request)):
        raise Refused(
            403, "Not allowed",
            "without tokens this answers to this machine alone: `milepost tokens create` makes one",
        )  # fmt: skip
    if not is_this_machine(host or ""):
        raise Refused(
            403, "Not allowed",
            f"without tokens this answers to localhost alone, not to {host!r}: "
            "`milepost tokens create` makes one",
        )  # fmt: skip


def _unknown(detail: str) -> Refused:
    return Refused(401, "Who are you?", detail, headers={"WWW-Authenticate": "Bearer"})


def is_this_machine(host: str) -> bool:
    """Tell whether a name or an address is one that only this machine reaches."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address_of(request: Request) -> str:
    """Say from where a request comes."""
    client: Any = request.client
    return client.host if client else "unknown"
