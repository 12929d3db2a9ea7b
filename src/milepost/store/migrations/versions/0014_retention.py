"""What is kept of each kind, which programs the tables serve, and room for jobs that save."""

from alembic import op
from sqlalchemy import Column, Text

from milepost.store.moments import Moment

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "milepost_retention",
        Column("kind", Text, primary_key=True),
        Column("rules", Text),
        Column("changed_at", Moment),
    )
    op.add_column("milepost_jobs", Column("repeat_until", Moment))
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "ALTER TABLE milepost_jobs SET (fillfactor = 85, "
            "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000, "
            "autovacuum_analyze_scale_factor = 0.01, autovacuum_analyze_threshold = 5000)"
        )
    op.add_column("milepost_store", Column("oldest_program", Text))
    # A migration that takes away what programs use, or adds what they must fill, moves it up.
    op.execute("UPDATE milepost_store SET oldest_program = '0014'")
