"""What workers share about the sources that they read: connections, tokens, budgets."""

from alembic import op
from sqlalchemy import Column, Double, Text

from milepost.store.moments import Moment

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "milepost_connections",
        Column("name", Text, primary_key=True),
        Column("source", Text, nullable=False),
        Column("credentials", Text),
        Column("created_at", Moment, nullable=False),
        Column("updated_at", Moment, nullable=False),
    )
    op.create_table(
        "milepost_tokens",
        Column("key", Text, primary_key=True),
        Column("token", Text),
        Column("renewing_until", Moment),
        Column("updated_at", Moment, nullable=False),
    )
    op.create_table(
        "milepost_budgets",
        Column("key", Text, primary_key=True),
        Column("next_at", Double, nullable=False),
    )
