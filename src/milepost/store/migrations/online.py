"""Changes to tables that others read and write meanwhile.

To stand first in a migration: on PostgreSQL they are outside of its transaction, and what stood
before them would be committed. They can be repeated, and are, where a migration was interrupted.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from alembic import op
from sqlalchemy import TextClause


def create_index(
    name: str, table: str, columns: Sequence[str], *, where: TextClause, unique: bool = False
) -> None:
    """Make an index without a lock that others would wait for."""
    if not _on_postgres():
        op.create_index(name, table, list(columns), unique=unique, sqlite_where=where)
        return
    with _beside_others():
        # An interrupted one is there, and does not count.
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
        op.create_index(
            name, table, list(columns), unique=unique,
            postgresql_where=where, postgresql_concurrently=True,
        )  # fmt: skip


def drop_index(name: str, table: str) -> None:
    """Drop an index without a lock that others would wait for."""
    if not _on_postgres():
        op.drop_index(name, table)
        return
    with _beside_others():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)


def _on_postgres() -> bool:
    return op.get_context().dialect.name == "postgresql"


@contextmanager
def _beside_others() -> Iterator[None]:
    with op.get_context().autocommit_block():
        # These wait for every transaction that is older, and nobody for them.
        before = op.get_bind().exec_driver_sql("SHOW lock_timeout").scalar()
        op.execute("SET lock_timeout = 0")
        yield
        op.execute(f"SET lock_timeout = '{before}'")
