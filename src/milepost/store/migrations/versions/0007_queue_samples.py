"""How long the queues were, and how often logging in was tried."""

from alembic import op
from sqlalchemy import BigInteger, Column, Double, Integer, PrimaryKeyConstraint, Text

from milepost.store.moments import Moment

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "milepost_queue_samples",
        Column("queue", Text, nullable=False),
        Column("at", Moment, nullable=False),
        Column("available", BigInteger, nullable=False),
        Column("oldest_wait", Double, nullable=False),
        PrimaryKeyConstraint("queue", "at", name="milepost_queue_samples_pkey"),
    )
    op.create_index("milepost_queue_samples_age", "milepost_queue_samples", ["at"])
    op.create_table(
        "milepost_login_attempts",
        Column("bucket", Integer, primary_key=True, autoincrement=False),
        Column("attempts", Integer, nullable=False),
        Column("since", Moment, nullable=False),
    )
