"""Snapshots by name: which tables of which source go where."""

from alembic import op
from sqlalchemy import Column, Text

from milepost.store.moments import Moment

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "milepost_snapshots",
        Column("name", Text, primary_key=True),
        Column("described", Text, nullable=False),
        Column("created_at", Moment, nullable=False),
        Column("updated_at", Moment, nullable=False),
    )
