"""The trace that a job goes on with."""

from alembic import op
from sqlalchemy import Column, Text

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("milepost_jobs", Column("trace", Text))
