"""An index of the jobs that two workers in a row have died on."""

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    suspect = text("rescues > 1 AND finished_at IS NULL")
    op.create_index(
        "milepost_jobs_suspects",
        "milepost_jobs",
        ["queue", "priority", "id"],
        postgresql_where=suspect,
        sqlite_where=suspect,
    )
