"""Jobs that wait for others."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, PrimaryKeyConstraint, Text, text

from milepost.store.moments import Moment

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ID = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    op.add_column(
        "milepost_jobs", Column("awaited", Boolean, nullable=False, server_default=text("false"))
    )
    op.add_column("milepost_jobs", Column("children", Text))
    stopping = text("children = 'stop'")
    op.create_index(
        "milepost_jobs_stop", "milepost_jobs", ["id"],
        postgresql_where=stopping, sqlite_where=stopping,
    )  # fmt: skip
    op.create_table(
        "milepost_children",
        Column("job_id", ID, nullable=False),
        Column("child_id", ID, nullable=False),
        PrimaryKeyConstraint("job_id", "child_id", name="milepost_children_pkey"),
    )
    op.create_index("milepost_children_child", "milepost_children", ["child_id"])
    op.create_table(
        "milepost_joins",
        Column("job_id", ID, primary_key=True, autoincrement=False),
        Column("pending", Integer, nullable=False),
        Column("lost", Integer, nullable=False),
        Column("on_failure", Text, nullable=False),
        Column("run_at", Moment, nullable=False),
        Column("broke", Boolean, nullable=False, server_default=text("false")),
    )
