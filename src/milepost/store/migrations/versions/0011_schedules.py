"""Schedules, the moments that have fired, and which of them a job is for."""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Integer,
    PrimaryKeyConstraint,
    Text,
    text,
)

from milepost.store.moments import Moment

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ID = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("milepost_jobs", Column("scheduled_for", Moment))
    op.create_table(
        "milepost_schedules",
        Column("name", Text, primary_key=True),
        Column("kind", Text, nullable=False),
        Column("args", Text, nullable=False),
        Column("queue", Text),
        Column("priority", Integer),
        Column("owner", Text),
        Column("cron", Text),
        Column("every", Double),
        Column("timezone", Text, nullable=False),
        Column("catch_up", Text, nullable=False),
        Column("catch_up_limit", Integer, nullable=False),
        Column("jitter", Double, nullable=False),
        Column("overlap", Text, nullable=False),
        Column("declared", Text),
        Column("paused_at", Moment),
        Column("next_fire_at", Moment, nullable=False),
        Column("last_fire_at", Moment),
        Column("last_job_id", ID),
        Column("missed", BigInteger, nullable=False, server_default=text("0")),
        Column("missed_at", Moment),
        Column("created_at", Moment, nullable=False),
        Column("updated_at", Moment, nullable=False),
    )
    op.create_index(
        "milepost_schedules_next",
        "milepost_schedules",
        ["next_fire_at"],
        postgresql_where=text("paused_at IS NULL"),
        sqlite_where=text("paused_at IS NULL"),
    )
    op.create_table(
        "milepost_schedule_fires",
        Column("schedule", Text, nullable=False),
        Column("moment", Moment, nullable=False),
        Column("job_id", ID, nullable=False),
        Column("skipped", Boolean, nullable=False),
        Column("fired_at", Moment, nullable=False),
        PrimaryKeyConstraint("schedule", "moment", name="milepost_schedule_fires_pkey"),
    )
