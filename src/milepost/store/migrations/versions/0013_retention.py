"""What is kept of each kind's history, which programs the tables serve, and room to move."""

from alembic import op
from sqlalchemy import BigInteger, Column, Double, PrimaryKeyConstraint, Text, text

from milepost.store.migrations.online import create_index, drop_index

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    finished = text("finished_at IS NOT NULL")
    for name, columns in (
        ("finished", ["state", "finished_at"]), ("kinds", ["kind", "state", "finished_at"]),
    ):  # fmt: skip
        create_index(f"milepost_jobs_{name}", "milepost_jobs", columns, where=finished)
    drop_index("milepost_jobs_prune", "milepost_jobs")
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "ALTER TABLE milepost_jobs SET (fillfactor = 85, "
            "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000, "
            "autovacuum_analyze_scale_factor = 0.01, autovacuum_analyze_threshold = 5000)"
        )
    op.create_table(
        "milepost_retention",
        Column("kind", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("age", Double),
        Column("count", BigInteger),
        PrimaryKeyConstraint("kind", "state", name="milepost_retention_pkey"),
    )
    op.add_column("milepost_store", Column("oldest_program", Text))
