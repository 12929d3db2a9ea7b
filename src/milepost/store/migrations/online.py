"""Changes to tables that others read and write meanwhile.

To stand first in a migration: on PostgreSQL they are outside of its transaction, and what stood
before them would be committed. They may be repeated, and are, where a migration was interrupted.
"""

from collections.abc import Sequence

from alembic import op
from sqlalchemy import TextClause, text

from milepost.store.schema import LOCK_PATIENCE

IS_WHOLE = text(
    "SELECT indisvalid AND indisready FROM pg_index WHERE indexrelid = to_regclass(:name)"
)


def create_index(name: str, table: str, columns: Sequence[str], *, where: TextClause) -> None:
    """Make an index without a lock that others would wait for; nothing where it is there."""
    if op.get_context().dialect.name == "sqlite":
        op.create_index(name, table, list(columns), sqlite_where=where)
        return
    with op.get_context().autocommit_block():
        whole = op.get_bind().execute(IS_WHOLE, {"name": name}).scalar()
        if whole:
            return
        # It waits for every transaction that is older, and nobody for it.
        op.execute("SET lock_timeout = 0")
        if whole is not None:
            op.drop_index(name, table, postgresql_concurrently=True)
        op.create_index(
            name, table, list(columns), postgresql_where=where, postgresql_concurrently=True
        )
        op.execute(f"SET lock_timeout = {LOCK_PATIENCE}")
