"""Who may use the API, which requests have become which jobs, and which queues rest."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, Text

from milepost.store.moments import Moment

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ID = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "milepost_access_tokens",
        Column("id", ID, primary_key=True, autoincrement=True),
        Column("name", Text, nullable=False),
        Column("hash", Text, nullable=False, unique=True),
        Column("role", Text, nullable=False),
        Column("owner", Text),
        Column("created_at", Moment, nullable=False),
        Column("revoked_at", Moment),
    )
    op.create_table(
        "milepost_paused_queues",
        Column("queue", Text, primary_key=True),
        Column("paused_at", Moment, nullable=False),
    )
    op.create_table(
        "milepost_idempotency_keys",
        Column("key", Text, primary_key=True),
        Column("request_hash", Text, nullable=False),
        Column("job_id", ID, nullable=False),
        Column("created_at", Moment, nullable=False),
    )
    op.create_index("milepost_idempotency_keys_age", "milepost_idempotency_keys", ["created_at"])
