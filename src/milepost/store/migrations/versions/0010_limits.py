"""Limits and turns, kinds that rest, and jobs that are submitted again."""

from alembic import op
from sqlalchemy import Column, Double, Integer, Text, text

from milepost.store.moments import Moment

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ASCII = Text().with_variant(Text(collation="C"), "postgresql")


def upgrade() -> None:
    lane = Column("lane", ASCII, nullable=False, server_default=text("''"))
    op.add_column("milepost_jobs", lane)
    op.add_column("milepost_jobs", Column("repeat_key", Text))
    op.drop_index("milepost_jobs_claim", "milepost_jobs")
    for name, columns, condition in (
        ("claim", ["queue", "lane", "priority", "id"], "state = 'available'"),
        ("repeat_key", ["repeat_key"], "repeat_key IS NOT NULL"),
    ):
        op.create_index(
            f"milepost_jobs_{name}",
            "milepost_jobs",
            columns,
            unique=name == "repeat_key",
            postgresql_where=text(condition),
            sqlite_where=text(condition),
        )
    op.create_table(
        "milepost_paused_kinds",
        Column("kind", Text, primary_key=True),
        Column("paused_at", Moment, nullable=False),
    )
    op.create_table(
        "milepost_queue_limits",
        Column("queue", Text, primary_key=True),
        Column("concurrency", Integer),
        Column("rate", Integer),
        Column("per", Double),
        Column("length", Integer),
    )
    op.create_table(
        "milepost_limits",
        Column("key", Text, primary_key=True),
        Column("starts", Text),
        Column("served_at", Double, nullable=False),
    )
