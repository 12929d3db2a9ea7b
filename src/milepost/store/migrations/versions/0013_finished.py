"""What has finished, in the order in which each kind's retention asks for it."""

from alembic import op
from sqlalchemy import text

from milepost.store.migrations.online import create_index

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

FINISHED = text("finished_at IS NOT NULL")


def upgrade() -> None:
    columns = ["kind", "state", "finished_at", "id"]
    create_index("milepost_jobs_kinds", "milepost_jobs", columns, where=FINISHED)
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER INDEX milepost_jobs_prune RENAME TO milepost_jobs_finished")
        return
    op.drop_index("milepost_jobs_prune", "milepost_jobs")
    op.create_index(
        "milepost_jobs_finished", "milepost_jobs", ["state", "finished_at"], sqlite_where=FINISHED
    )
