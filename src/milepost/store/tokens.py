"""The tokens that sources have given, encrypted, and who may get a new one just now."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, null, or_, select, update

from milepost.store.clock import Clock
from milepost.store.tables import tokens
from milepost.store.upserts import insert_into


@dataclass(frozen=True, slots=True)
class Renewal:
    """The right to get a new token, until then. No two are held until the same moment."""

    key: str
    until: datetime


def find(conn: Connection, key: str) -> str | None:
    """Read the newest token."""
    return conn.execute(select(tokens.c.token).where(tokens.c.key == key)).scalar_one_or_none()


def claim(
    conn: Connection, clock: Clock, key: str, *, seen: str | None, lease_for: timedelta
) -> Renewal | None:
    """Take the right to put a token in the place of the one that was seen.

    None where another has that right, or has used it since.
    """
    until = conn.execute(
        _insert(conn)
        .values(key=key, renewing_until=clock.now(lease_for), updated_at=clock.now())
        .on_conflict_do_update(
            index_elements=[tokens.c.key],
            set_={"renewing_until": clock.now(lease_for)},
            where=tokens.c.token.is_not_distinct_from(seen)
            & or_(tokens.c.renewing_until.is_(None), tokens.c.renewing_until <= clock.now()),
        )
        .returning(tokens.c.renewing_until)
    ).scalar_one_or_none()
    return None if until is None else Renewal(key, until)


def extend(
    conn: Connection, clock: Clock, renewal: Renewal, *, lease_for: timedelta
) -> Renewal | None:
    """Hold the right for longer; None where another has it by now."""
    until = conn.execute(
        update(tokens)
        .where(tokens.c.key == renewal.key, tokens.c.renewing_until == renewal.until)
        .values(renewing_until=clock.now(lease_for))
        .returning(tokens.c.renewing_until)
    ).scalar_one_or_none()
    return None if until is None else Renewal(renewal.key, until)


def give_up(conn: Connection, renewal: Renewal) -> None:
    """Leave the right to others."""
    conn.execute(
        update(tokens)
        .where(tokens.c.key == renewal.key, tokens.c.renewing_until == renewal.until)
        .values(renewing_until=null())
    )


def keep(conn: Connection, clock: Clock, key: str, *, seen: str | None, token: str) -> bool:
    """Put a new token in the place of the one that was seen; False where another did so before.

    Fenced by the token and not by the right: a token that has been got late is still the newest,
    and the one before may be worth nothing any more.
    """
    kept = conn.execute(
        _insert(conn)
        .values(key=key, token=token, updated_at=clock.now())
        .on_conflict_do_update(
            index_elements=[tokens.c.key],
            set_={"token": token, "renewing_until": null(), "updated_at": clock.now()},
            where=tokens.c.token.is_not_distinct_from(seen),
        )
        .returning(tokens.c.key)
    )
    return kept.one_or_none() is not None


def encrypted(conn: Connection) -> list[str]:
    """Read all tokens."""
    found = conn.execute(select(tokens.c.token).where(tokens.c.token.is_not(None)))
    return [token for token in found.scalars() if token is not None]


def reencrypt(conn: Connection, change: Callable[[str], str | None]) -> int:
    """Put `change(token)` in the place of all tokens; None forgets one. Returns of how many."""
    rows = conn.execute(
        select(tokens.c.key, tokens.c.token)
        .where(tokens.c.token.is_not(None))
        .order_by(tokens.c.key)
        .with_for_update()
    ).all()
    for key, token in rows:
        conn.execute(update(tokens).where(tokens.c.key == key).values(token=change(token)))
    return len(rows)


def _insert(conn: Connection) -> Any:
    return insert_into(conn.dialect.name, tokens)
