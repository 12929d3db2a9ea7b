"""Who is told of what, as the store keeps it: addresses come here encrypted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, select, update

from milepost.store.clock import Clock
from milepost.store.notices import About
from milepost.store.tables import notices, routes
from milepost.store.upserts import insert_into


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRoute:
    """A row. `kind`, `queue` and `owner` are of what alone it is told, where they are given.

    `waiting` notices have not been sent yet; `tries` messages in a row were not taken, and `error`
    says why.
    """

    name: str
    address: str
    about: Sequence[About]
    kind: str | None = None
    queue: str | None = None
    owner: str | None = None
    created_at: datetime | None = None
    due_at: datetime | None = None
    sent_at: datetime | None = None
    tries: int = 0
    error: str | None = None
    waiting: int = 0


def add(conn: Connection, clock: Clock, route: StoredRoute) -> bool:
    """Store a new route; False where the name is taken."""
    insert = insert_into(conn.dialect.name, routes)
    added = conn.execute(
        insert.values(
            name=route.name, address=route.address, about=f",{','.join(route.about)},",
            kind=route.kind, queue=route.queue, owner=route.owner,
            created_at=clock.now(), due_at=clock.now(),
        ).on_conflict_do_nothing().returning(routes.c.name)
    )  # fmt: skip
    return added.one_or_none() is not None


def listed(conn: Connection) -> list[StoredRoute]:
    """Read all routes, in the order of their names."""
    waiting = (
        select(func.count()).where(notices.c.route == routes.c.name).scalar_subquery()
    ).label("waiting")
    found = conn.execute(select(routes, waiting).order_by(routes.c.name)).all()
    return [
        StoredRoute(
            name=row.name, address=row.address,
            about=tuple(About(each) for each in row.about.strip(",").split(",")),
            kind=row.kind, queue=row.queue, owner=row.owner, created_at=row.created_at,
            due_at=row.due_at, sent_at=row.sent_at, tries=row.tries, error=row.error,
            waiting=row.waiting,
        )
        for row in found
    ]  # fmt: skip


def address_of(conn: Connection, name: str) -> str | None:
    """Read a route's address, as it is stored; None where there is no such route."""
    return conn.execute(select(routes.c.address).where(routes.c.name == name)).scalar()


def remove(conn: Connection, name: str) -> bool:
    """Delete a route and what it has not been told yet; False where there is none."""
    conn.execute(delete(notices).where(notices.c.route == name))
    return conn.execute(delete(routes).where(routes.c.name == name)).rowcount > 0


def reencrypt(conn: Connection, change: Callable[[str, str], str | None]) -> int:
    """Put `change(name, address)` in the place of all addresses; returns of how many.

    A route whose address is given up leads nowhere, so it goes.
    """
    rows = conn.execute(
        select(routes.c.name, routes.c.address).order_by(routes.c.name).with_for_update()
    ).all()
    for name, address in rows:
        changed = change(name, address)
        if changed is None:
            remove(conn, name)
        else:
            conn.execute(update(routes).where(routes.c.name == name).values(address=changed))
    return len(rows)
