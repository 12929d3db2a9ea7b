"""Jobs that another program put into the broker keep their id there."""

from alembic import op
from sqlalchemy import Column, Text, text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("milepost_jobs", Column("broker_id", Text))
    adopted = text("broker_id IS NOT NULL")
    op.create_index(
        "milepost_jobs_broker_id",
        "milepost_jobs",
        ["queue", "broker_id"],
        unique=True,
        postgresql_where=adopted,
        sqlite_where=adopted,
    )
