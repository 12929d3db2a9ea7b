"""The tokens that open the API, by their hashes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from milepost.store.clock import Clock
from milepost.store.tables import access_tokens


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What is known of a token; itself it is nowhere. `owner` None: it is for all jobs."""

    id: int
    name: str
    role: str
    owner: str | None
    created_at: datetime
    revoked_at: datetime | None


def add(
    conn: Connection, clock: Clock, *, name: str, hashed: str, role: str, owner: str | None
) -> int:
    """Keep a new token; returns its id."""
    added: int = conn.execute(
        insert(access_tokens)
        .values(name=name, hash=hashed, role=role, owner=owner, created_at=clock.now())
        .returning(access_tokens.c.id)
    ).scalar_one()
    return added


def find(conn: Connection, hashed: str) -> AccessToken | None:
    """Find the token with this hash, unless it was revoked."""
    row = conn.execute(
        select(access_tokens).where(
            access_tokens.c.hash == hashed, access_tokens.c.revoked_at.is_(None)
        )
    ).one_or_none()
    return None if row is None else _read(row)


def listed(conn: Connection) -> Sequence[AccessToken]:
    """Read all tokens, the oldest first; those that were revoked too."""
    return [
        _read(row) for row in conn.execute(select(access_tokens).order_by(access_tokens.c.id)).all()
    ]


def any_valid(conn: Connection) -> bool:
    """Tell whether there is a token that opens anything."""
    valid = select(access_tokens.c.id).where(access_tokens.c.revoked_at.is_(None)).limit(1)
    return conn.execute(valid).scalar() is not None


def revoke(conn: Connection, clock: Clock, token_id: int) -> bool:
    """Let a token open nothing from now on; tells whether it did until now."""
    revoked = conn.execute(
        update(access_tokens)
        .where(access_tokens.c.id == token_id, access_tokens.c.revoked_at.is_(None))
        .values(revoked_at=clock.now())
    )
    return revoked.rowcount == 1


def _read(row: Row[Any]) -> AccessToken:
    return AccessToken(row.id, row.name, row.role, row.owner, row.created_at, row.revoked_at)
