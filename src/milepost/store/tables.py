"""The tables of the store. `migrations/` makes them; a test holds both together."""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    event,
    or_,
    text,
)

from milepost.store.moments import Moment

metadata = MetaData()

# SQLite gives a table its own fast integer key only when the type is spelled INTEGER.
Id: Final = BigInteger().with_variant(Integer(), "sqlite")
# Compared byte by byte, which is fast and the same everywhere.
Ascii: Final = Text().with_variant(Text(collation="C"), "postgresql")


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=True)


# JSON is kept as text: the store never looks into it, and PostgreSQL's jsonb would refuse \u0000
# and reorder keys. `args::jsonb ->> 'shop'` works where a person wants to look.
jobs = Table(
    "milepost_jobs",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("priority", Integer, nullable=False, server_default=text("0")),
    Column("args", Text, nullable=False),
    Column("checkpoint", Text),
    Column("result", Text),
    Column("error", Text),
    Column("progress", Text),
    # The fence: it only goes up, and every write made for an attempt names it.
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    # What max_attempts limits. Apart from the fence, because an interrupted attempt costs none.
    Column("failures", Integer, nullable=False, server_default=text("0")),
    # Deaths of workers, or of processes that ran its handler, in a row with nothing new saved
    # between: the mark of a job that kills.
    Column("rescues", Integer, nullable=False, server_default=text("0")),
    Column("max_attempts", Integer, nullable=False),
    Column("backoff", Text),
    Column("time_limit", Float),  # seconds
    Column("unique_key", Text),
    # Where another program put it into the broker: when it did, and its id there.
    Column("broker_id", Text),
    Column("tags", Text),
    Column("owner", Text),
    # The limits and turns that hold it back, see jobs/limits.py; empty where none do.
    Column("lane", Ascii, nullable=False, server_default=text("''")),
    # Among jobs with the same one there is only one: it was submitted again, and debounced or
    # throttled.
    Column("repeat_key", Text),
    # How long what was throttled is to be found by it.
    Column("repeat_until", Moment),
    Column("created_at", Moment, nullable=False),
    Column("run_at", Moment, nullable=False),
    # The moment of a schedule that it is for.
    Column("scheduled_for", Moment),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    Column("lease_expires_at", Moment),
    Column("worker_id", Text),
    Column("cancel_requested_at", Moment),
    Column("cancel_reason", Text),
    # What its attempts go on with: W3C trace headers as JSON, as BullMQ carries them.
    Column("trace", Text),
    # Another job waits for it, so its end is to be told there.
    Column("awaited", Boolean, nullable=False, server_default=text("false")),
    # Whether it has jobs that it waits for: none, KEPT, or STOP, as they are to be cancelled.
    Column("children", Text),
    # Ids are never given twice, not even after pruning the newest job.
    sqlite_autoincrement=True,
)


def _where(condition: str) -> dict[str, Any]:
    return {"postgresql_where": text(condition), "sqlite_where": text(condition)}


# On PostgreSQL a job leaves a dead row behind each of its moves. A save finds room for its new row
# in the same page, and leaves the indexes alone; vacuum and analyze come when a hundredth is dead
# or new, and not a fifth of a history of millions.
JOBS_STORAGE: Final = (
    "fillfactor = 85, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000, "
    "autovacuum_analyze_scale_factor = 0.01, autovacuum_analyze_threshold = 5000"
)


@event.listens_for(jobs, "after_create")
def _set_storage(_: Table, conn: Connection, **__: Any) -> None:
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql(f"ALTER TABLE milepost_jobs SET ({JOBS_STORAGE})")


# Each partial index serves one verb and holds only the rows that verb looks for, so that a
# million finished jobs cost a claim nothing.
Index(
    "milepost_jobs_claim",
    jobs.c.queue,
    jobs.c.lane,
    jobs.c.priority,
    jobs.c.id,
    **_where("state = 'available'"),
)
Index("milepost_jobs_promote", jobs.c.run_at, **_where("state = 'scheduled'"))
# Not "state = 'running'", though it means the same rows: the planner would then use it for every
# statement that is fenced by state, and walk all entries that died since the last vacuum.
Index("milepost_jobs_rescue", jobs.c.lease_expires_at, **_where("lease_expires_at IS NOT NULL"))
Index(
    "milepost_jobs_finished", jobs.c.state, jobs.c.finished_at, **_where("finished_at IS NOT NULL")
)
Index(
    "milepost_jobs_kinds",
    jobs.c.kind,
    jobs.c.state,
    jobs.c.finished_at,
    jobs.c.id,
    **_where("finished_at IS NOT NULL"),
)
UNFINISHED_WITH_KEY: Final = (
    "unique_key IS NOT NULL AND state IN ('scheduled', 'available', 'running')"
)
Index("milepost_jobs_unique_key", jobs.c.unique_key, unique=True, **_where(UNFINISHED_WITH_KEY))
Index(
    "milepost_jobs_repeat_key",
    jobs.c.repeat_key,
    unique=True,
    **_where("repeat_key IS NOT NULL"),
)

# Two workers in a row died on it: the next one runs it apart from others like it. Always few.
SUSPECT: Final = "milepost_jobs.rescues > 1 AND milepost_jobs.finished_at IS NULL"
Index(
    "milepost_jobs_suspects",
    jobs.c.queue,
    jobs.c.priority,
    jobs.c.id,
    **_where("rescues > 1 AND finished_at IS NULL"),
)

KEPT: Final = "kept"
STOP: Final = "stop"
Index("milepost_jobs_stop", jobs.c.id, **_where("children = 'stop'"))

Index(
    "milepost_jobs_broker_id",
    jobs.c.queue,
    jobs.c.broker_id,
    unique=True,
    **_where("broker_id IS NOT NULL"),
)

# Who waits for whom. The waiting job is the parent, whichever of the two was there first.
family = Table(
    "milepost_children",
    metadata,
    Column("job_id", Id, nullable=False),
    Column("child_id", Id, nullable=False),
    PrimaryKeyConstraint("job_id", "child_id", name="milepost_children_pkey"),
)
Index("milepost_children_child", family.c.child_id)

# What a parent waits for, counted apart from its row in `jobs`: who settles a child must not wait
# for a statement on the parent while it runs, nor that one for him.
joins = Table(
    "milepost_joins",
    metadata,
    Column("job_id", Id, primary_key=True, autoincrement=False),
    # Its children that have not ended, and those that have failed or were cancelled.
    Column("pending", Integer, nullable=False),
    Column("lost", Integer, nullable=False),
    Column("on_failure", Text, nullable=False),
    # Not before this moment does it run, whoever has ended.
    Column("run_at", Moment, nullable=False),
    # Whether it has ever failed because of them: if it completes after all, it has recovered.
    Column("broke", Boolean, nullable=False, server_default=text("false")),
)

attempts = Table(
    "milepost_attempts",
    metadata,
    Column("job_id", Id, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("worker_id", Text),
    Column("started_at", Moment),
    Column("finished_at", Moment, nullable=False),
    Column("outcome", Text, nullable=False),
    # What it left the job as.
    Column("state", Text, nullable=False),
    Column("error", Text),
    Column("traceback", Text),
    PrimaryKeyConstraint("job_id", "attempt", name="milepost_attempts_pkey"),
)

progress_points = Table(
    "milepost_progress",
    metadata,
    _id(),
    Column("job_id", Id, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", Moment, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("total", BigInteger),
    Column("message", Text),
)
Index("milepost_progress_job", progress_points.c.job_id, progress_points.c.id)

log_lines = Table(
    "milepost_job_logs",
    metadata,
    _id(),
    Column("job_id", Id, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", Moment, nullable=False),
    Column("level", Text, nullable=False),
    Column("message", Text, nullable=False),
)
Index("milepost_job_logs_job", log_lines.c.job_id, log_lines.c.id)

workers = Table(
    "milepost_workers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    # Names the machine and its process namespace: within it a process id means one process.
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

# What workers share about the sources that they read. `credentials` and `token` are encrypted.
connections = Table(
    "milepost_connections",
    metadata,
    Column("name", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("credentials", Text),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
)
snapshots = Table(
    "milepost_snapshots",
    metadata,
    Column("name", Text, primary_key=True),
    Column("described", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
)
tokens = Table(
    "milepost_tokens",
    metadata,
    Column("key", Text, primary_key=True),
    Column("token", Text),
    # Until then somebody is getting a new one.
    Column("renewing_until", Moment),
    Column("updated_at", Moment, nullable=False),
)
budgets = Table(
    "milepost_budgets",
    metadata,
    Column("key", Text, primary_key=True),
    # When the next turn begins, in seconds since 1970.
    Column("next_at", Double, nullable=False),
)

# One row: which store this is. Two stores may keep checkpoints in one destination.
identity = Table(
    "milepost_store",
    metadata,
    Column("id", Text, primary_key=True),
    # The version that a program needs at least to work on these tables.
    Column("oldest_program", Text),
)

# Stands in the database that holds the data, wherever that is; made there when first needed.
destination_metadata = MetaData()
checkpoints = Table(
    "milepost_checkpoints",
    destination_metadata,
    Column("store_id", Text, nullable=False),
    Column("job_id", Id, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("checkpoint", Text),
    Column("saved_at", Moment, nullable=False),
    PrimaryKeyConstraint("store_id", "job_id", name="milepost_checkpoints_pkey"),
)

# Who may use the API. Of a token only its hash is kept.
access_tokens = Table(
    "milepost_access_tokens",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("hash", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    # Whose jobs alone it sees and steers; none: everybody's.
    Column("owner", Text),
    Column("created_at", Moment, nullable=False),
    Column("revoked_at", Moment),
)

# Queues of which no worker takes anything.
paused_queues = Table(
    "milepost_paused_queues",
    metadata,
    Column("queue", Text, primary_key=True),
    Column("paused_at", Moment, nullable=False),
)
# Kinds of which no worker begins anything.
paused_kinds = Table(
    "milepost_paused_kinds",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("paused_at", Moment, nullable=False),
)

# How long, and how many, finished jobs of a kind are kept, as its definition says.
retention = Table(
    "milepost_retention",
    metadata,
    Column("kind", Text, primary_key=True),
    # As JSON, see jobs/retention.py; none: the definition says nothing any more.
    Column("rules", Text),
    # When it began to say something else.
    Column("changed_at", Moment),
)

# The limits of queues that people set; of each, none where it is null. `per` is in seconds.
queue_limits = Table(
    "milepost_queue_limits",
    metadata,
    Column("queue", Text, primary_key=True),
    Column("concurrency", Integer),
    Column("rate", Integer),
    Column("per", Double),
    Column("length", Integer),
)
LIMITS_CLAIMS: Final = or_(
    queue_limits.c.concurrency.is_not(None), queue_limits.c.rate.is_not(None)
)

# One row for each key of a limit, and for each who takes turns: whoever claims locks it.
limits = Table(
    "milepost_limits",
    metadata,
    Column("key", Text, primary_key=True),
    # When attempts began, as JSON; see jobs/turns.py.
    Column("starts", Text),
    # When the last turn was, in seconds since 1970.
    Column("served_at", Double, nullable=False),
)

# Which job a request over HTTP has become, so that it may be sent again.
idempotency_keys = Table(
    "milepost_idempotency_keys",
    metadata,
    Column("key", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("job_id", Id, nullable=False),
    Column("created_at", Moment, nullable=False),
)
Index("milepost_idempotency_keys_age", idempotency_keys.c.created_at)

# Who is told of what, and where: `address` is encrypted. `about` has a comma around each word.
routes = Table(
    "milepost_routes",
    metadata,
    Column("name", Text, primary_key=True),
    Column("address", Text, nullable=False),
    Column("about", Text, nullable=False),
    # Of what alone; none: of everything.
    Column("kind", Text),
    Column("queue", Text),
    Column("owner", Text),
    Column("created_at", Moment, nullable=False),
    # When the next message may go. Who sends one moves it on first, so that nobody else does.
    Column("due_at", Moment, nullable=False),
    # How often in a row it took nothing, and why.
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("error", Text),
    Column("sent_at", Moment),
)

# What a route has not been told yet. It is written with the change that it tells of.
notices = Table(
    "milepost_notices",
    metadata,
    _id(),
    Column("route", Text, nullable=False),
    Column("about", Text, nullable=False),
    Column("kind", Text),
    Column("queue", Text),
    Column("owner", Text),
    Column("job_id", Id),
    Column("subject", Text),
    Column("detail", Text),
    Column("at", Moment, nullable=False),
    # The message that it is part of, once one was made.
    Column("batch", Text),
)
Index("milepost_notices_route", notices.c.route, notices.c.batch, notices.c.id)

# Queues that have waited too long when somebody looked, and when people were told of it.
late_queues = Table(
    "milepost_late_queues",
    metadata,
    Column("queue", Text, primary_key=True),
    Column("since", Moment, nullable=False),
    Column("told_at", Moment),
)

# How long a queue was at the beginning of a minute. The queue without a name: all together.
queue_samples = Table(
    "milepost_queue_samples",
    metadata,
    Column("queue", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("available", BigInteger, nullable=False),
    Column("oldest_wait", Double, nullable=False),  # seconds
    PrimaryKeyConstraint("queue", "at", name="milepost_queue_samples_pkey"),
)
Index("milepost_queue_samples_age", queue_samples.c.at)

# Attempts to log in, less those that were good. Addresses share a fixed number of buckets, so that
# no flood of them fills the table.
login_attempts = Table(
    "milepost_login_attempts",
    metadata,
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("attempts", Integer, nullable=False),
    Column("since", Moment, nullable=False),
)

# When which jobs are submitted, again and again.
schedules = Table(
    "milepost_schedules",
    metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("args", Text, nullable=False),
    Column("queue", Text),
    Column("priority", Integer),
    Column("owner", Text),
    # One of the two; the other is none.
    Column("cron", Text),
    Column("every", Double),  # seconds
    Column("timezone", Text, nullable=False),
    Column("catch_up", Text, nullable=False),
    Column("catch_up_limit", Integer, nullable=False),
    Column("jitter", Double, nullable=False),  # seconds
    Column("overlap", Text, nullable=False),
    # What the code that declared it said, all in one; none: it was added by hand.
    Column("declared", Text),
    Column("paused_at", Moment),
    # The first moment that nobody has seen to. It only moves by a compare with what was read.
    Column("next_fire_at", Moment, nullable=False),
    Column("last_fire_at", Moment),
    Column("last_job_id", Id),
    # Moments that did not fire in time, all in all, and the last of them.
    Column("missed", BigInteger, nullable=False, server_default=text("0")),
    Column("missed_at", Moment),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
)
Index("milepost_schedules_next", schedules.c.next_fire_at, **_where("paused_at IS NULL"))

# Which moments have fired. Its key is what lets a moment fire once, whatever a schedule's row says.
schedule_fires = Table(
    "milepost_schedule_fires",
    metadata,
    Column("schedule", Text, nullable=False),
    Column("moment", Moment, nullable=False),
    # Of a moment that was skipped: the unfinished job of an earlier one.
    Column("job_id", Id, nullable=False),
    Column("skipped", Boolean, nullable=False),
    Column("fired_at", Moment, nullable=False),
    PrimaryKeyConstraint("schedule", "moment", name="milepost_schedule_fires_pkey"),
)
