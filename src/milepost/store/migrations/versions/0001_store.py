"""The tables of the store."""

from alembic import op
from sqlalchemy import BigInteger, Column, Float, Integer, PrimaryKeyConstraint, Text, text

from milepost.store.moments import Moment

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Id = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "milepost_jobs",
        Column("id", Id, primary_key=True, autoincrement=True),
        Column("kind", Text, nullable=False),
        Column("queue", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("priority", Integer, nullable=False, server_default=text("0")),
        Column("args", Text, nullable=False),
        Column("checkpoint", Text),
        Column("result", Text),
        Column("error", Text),
        Column("progress", Text),
        Column("attempt", Integer, nullable=False, server_default=text("0")),
        Column("failures", Integer, nullable=False, server_default=text("0")),
        Column("rescues", Integer, nullable=False, server_default=text("0")),
        Column("max_attempts", Integer, nullable=False),
        Column("backoff", Text),
        Column("time_limit", Float),
        Column("unique_key", Text),
        Column("tags", Text),
        Column("owner", Text),
        Column("created_at", Moment, nullable=False),
        Column("run_at", Moment, nullable=False),
        Column("started_at", Moment),
        Column("finished_at", Moment),
        Column("lease_expires_at", Moment),
        Column("worker_id", Text),
        Column("cancel_requested_at", Moment),
        Column("cancel_reason", Text),
        sqlite_autoincrement=True,
    )
    for name, columns, condition in (
        ("claim", ["queue", "priority", "id"], "state = 'available'"),
        ("promote", ["run_at"], "state = 'scheduled'"),
        ("rescue", ["lease_expires_at"], "lease_expires_at IS NOT NULL"),
        ("prune", ["state", "finished_at"], "finished_at IS NOT NULL"),
        (
            "unique_key",
            ["unique_key"],
            "unique_key IS NOT NULL AND state IN ('scheduled', 'available', 'running')",
        ),
    ):
        op.create_index(
            f"milepost_jobs_{name}",
            "milepost_jobs",
            columns,
            unique=name == "unique_key",
            postgresql_where=text(condition),
            sqlite_where=text(condition),
        )
    op.create_table(
        "milepost_attempts",
        Column("job_id", Id, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("worker_id", Text),
        Column("started_at", Moment),
        Column("finished_at", Moment, nullable=False),
        Column("outcome", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("error", Text),
        Column("traceback", Text),
        PrimaryKeyConstraint("job_id", "attempt", name="milepost_attempts_pkey"),
    )
    op.create_table(
        "milepost_progress",
        Column("id", Id, primary_key=True, autoincrement=True),
        Column("job_id", Id, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("at", Moment, nullable=False),
        Column("count", BigInteger, nullable=False),
        Column("total", BigInteger),
        Column("message", Text),
    )
    op.create_index("milepost_progress_job", "milepost_progress", ["job_id", "id"])
    op.create_table(
        "milepost_job_logs",
        Column("id", Id, primary_key=True, autoincrement=True),
        Column("job_id", Id, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("at", Moment, nullable=False),
        Column("level", Text, nullable=False),
        Column("message", Text, nullable=False),
    )
    op.create_index("milepost_job_logs_job", "milepost_job_logs", ["job_id", "id"])
    op.create_table(
        "milepost_workers",
        Column("id", Text, primary_key=True),
        Column("host", Text, nullable=False),
        Column("host_key", Text, nullable=False),
        Column("pid", Integer, nullable=False),
        Column("version", Text, nullable=False),
        Column("queues", Text, nullable=False),
        Column("kinds", Text, nullable=False),
        Column("concurrency", Integer, nullable=False),
        Column("running", Integer, nullable=False, server_default=text("0")),
        Column("started_at", Moment, nullable=False),
        Column("seen_at", Moment, nullable=False),
        Column("stopped_at", Moment),
    )
    op.create_table("milepost_store", Column("id", Text, primary_key=True))
