"""What definitions say of their kinds' history, where every worker reads it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, select, update

from milepost.jobs.payloads import Payload
from milepost.jobs.retention import Retention
from milepost.store.clock import Clock
from milepost.store.tables import retention
from milepost.store.upserts import insert_into

# While programs of two versions run, each declares its own: nothing is deleted by either.
STANDS_AFTER: Final = timedelta(minutes=10)

_rules: Final = Payload[Retention]("retention", Retention)


def declare(conn: Connection, clock: Clock, declared: Mapping[str, Retention | None]) -> None:
    """Write down what differs from what the store has; to be repeated as long as a program runs."""
    stored = stored_rules(conn)
    for kind, given in sorted(declared.items(), key=lambda each: each[0]):
        spelled = None if given is None else _rules.dump(given)
        if kind in stored:
            conn.execute(
                update(retention)
                .where(retention.c.kind == kind, retention.c.rules.is_distinct_from(spelled))
                .values(rules=spelled, changed_at=clock.now())
            )
        elif given is not None:
            conn.execute(
                insert_into(conn.dialect.name, retention)
                .values(kind=kind, rules=spelled)
                .on_conflict_do_nothing()
            )


def differ(conn: Connection, declared: Mapping[str, Retention | None]) -> bool:
    """Whether the store has something else; asks without waiting for a writer."""
    stored = stored_rules(conn)
    return any(stored.get(kind) != given for kind, given in declared.items())


def stored_rules(conn: Connection) -> dict[str, Retention | None]:
    """Read what the store has; None: what is said of all kinds."""
    return {
        kind: None if rules is None else _rules.load(rules)
        for kind, rules in conn.execute(select(retention.c.kind, retention.c.rules))
    }


def unsettled(conn: Connection, clock: Clock) -> frozenset[str]:
    """Read of which kinds the rules have just changed."""
    recent = retention.c.changed_at > clock.now(-STANDS_AFTER)
    return frozenset(conn.execute(select(retention.c.kind).where(recent)).scalars())
