"""Runs migrations on the connection that `schema.migrate` hands over, in its transaction."""

from alembic import context

from milepost.store.schema import VERSION_TABLE
from milepost.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
