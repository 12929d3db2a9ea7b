"""Whom to tell of what, what they have not been told yet, and which queues wait too long."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, Text, text

from milepost.store.moments import Moment

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ID = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "milepost_routes",
        Column("name", Text, primary_key=True),
        Column("address", Text, nullable=False),
        Column("about", Text, nullable=False),
        Column("kind", Text),
        Column("queue", Text),
        Column("owner", Text),
        Column("created_at", Moment, nullable=False),
        Column("due_at", Moment, nullable=False),
        Column("tries", Integer, nullable=False, server_default=text("0")),
        Column("error", Text),
        Column("sent_at", Moment),
    )
    op.create_table(
        "milepost_notices",
        Column("id", ID, primary_key=True, autoincrement=True),
        Column("route", Text, nullable=False),
        Column("about", Text, nullable=False),
        Column("kind", Text),
        Column("queue", Text),
        Column("owner", Text),
        Column("job_id", ID),
        Column("subject", Text),
        Column("detail", Text),
        Column("at", Moment, nullable=False),
        Column("batch", Text),
    )
    op.create_index("milepost_notices_route", "milepost_notices", ["route", "batch", "id"])
    op.create_table(
        "milepost_late_queues",
        Column("queue", Text, primary_key=True),
        Column("since", Moment, nullable=False),
        Column("told_at", Moment),
    )
