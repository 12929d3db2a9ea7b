"""Runs migrations on the connection that `schema` hands over.

SQLite: in its transaction. PostgreSQL: each in one of its own, so that no table is locked for
longer than its own change takes.
"""

from alembic import context

from milepost.store.schema import VERSION_TABLE
from milepost.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
    transaction_per_migration=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
