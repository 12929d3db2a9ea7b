"""One example of everything that the API takes and gives: a shop's orders are imported."""

from collections.abc import Mapping
from typing import Any, Final

_AT: Final = "2026-05-06T07:08:09Z"
_LATER: Final = "2026-05-06T07:12:41Z"
_PROGRESS: Final = {
    "count": 1200, "total": 4800, "percentage": 25.0, "message": "orders",
    "parts": {"orders": {"count": 1200, "total": 4800}}, "rate": 40.0, "remaining": [85.0, 110.0],
}  # fmt: skip
_LINE: Final = {
    "id": 42, "kind": "import-orders", "queue": "imports", "state": "running", "priority": 5,
    "progress": _PROGRESS, "error": None, "attempt": 2, "failures": 1, "max_attempts": 3,
    "unique_key": "orders:acme", "tags": ["nightly"], "owner": "acme", "created_at": _AT,
    "run_at": _AT, "started_at": _AT, "finished_at": None, "cancel_requested_at": None,
}  # fmt: skip
_ATTEMPT: Final = {
    "attempt": 1, "worker_id": "w-5f3c", "started_at": _AT, "finished_at": _LATER,
    "outcome": "failed", "state": "scheduled", "error": "ReadTimeout: page 12 did not come",
    "traceback": None,
}  # fmt: skip
_PARENT: Final = {"id": 44, "kind": "report", "state": "scheduled", "error": None}
_SLOT: Final = {
    "at": _AT, "completed": 12, "failed": 1, "cancelled": 0, "longest_wait": 1.5,
}  # fmt: skip
_FAILURES: Final = {
    "error": "ReadTimeout: page 12 did not come", "count": 3, "kinds": ["import-orders"],
    "newest_id": 41, "newest_at": _LATER,
}  # fmt: skip
_MEANT: Final = {"states": ["failed"], "kind": "import-orders"}
_SOURCE: Final = {
    "kind": "http", "url": "https://api.example.com/orders",
    "headers": {"Authorization": "Bearer $TOKEN"},
}  # fmt: skip

_SCHEDULE: Final = {
    "name": "nightly", "kind": "import-orders", "args": {"shop": "acme"}, "cron": "0 3 * * *",
    "every": None, "timezone": "Europe/Berlin", "queue": None, "priority": None, "owner": "acme",
    "catch_up": "once", "catch_up_limit": 100, "jitter": 30.0, "overlap": "skip", "declared": False,
    "paused_at": None, "next": [{"at": _LATER, "local": "2026-05-06T09:12:41+02:00"}],
    "last_fire_at": _AT, "last_job_id": 41, "last_state": "completed", "missed": 0,
    "missed_at": None, "overdue": False, "problem": None,
}  # fmt: skip
_FIRE: Final = {"moment": _AT, "job_id": 41, "skipped": False, "fired_at": _AT}

OF_SCHEMAS: Final[Mapping[str, Any]] = {
    "Submission": {"kind": "import-orders", "args": {"shop": "acme"}, "priority": 5},
    "Submitted": {"id": 42, "state": "available", "existed": False},
    "Jobs": {"items": [_LINE], "next": 42},
    "Job": {
        **_LINE, "args": {"shop": "acme"}, "checkpoint": {"page": 12}, "result": None, "rescues": 0,
        "worker_id": "w-5f3c", "lease_expires_at": _LATER, "cancel_reason": None,
        "scheduled_for": None, "attempts": [_ATTEMPT], "parents": [_PARENT],
        "children": {"completed": 3, "running": 1},
    },
    "Changes": {"priority": 0},
    "PointOut": {"attempt": 2, "at": _AT, "count": 1200, "total": 4800, "message": "orders"},
    "LogLineOut": {"id": 7, "attempt": 2, "at": _AT, "level": "info", "message": "page 12"},
    "CancelOrder": {"reason": "the shop has moved", "wait": 10},
    "Cancelled": {
        "id": 42, "state": "cancelled", "cancelled": True, "finished_first": False,
        "told": "job 42 is cancelled",
    },
    "BulkOrder": {"meant": _MEANT, "dry_run": True},
    "BulkDone": {"meant": 17, "changed": 0, "more": False},
    "Overview": {
        "at": _LATER, "since": _AT, "slots": [_SLOT], "completed": 12, "failed": 1, "cancelled": 0,
        "p50": 3.2, "p95": 9.8, "failed_by_kind": {"import-orders": 1},
    },
    "Failures": _FAILURES,
    "QueueOut": {
        "name": "imports", "scheduled": 2, "available": 31, "running": 4, "oldest": _AT,
        "paused": False,
        "limits": {"concurrency": 5, "rate": 600, "per": 300.0, "length": None},
    },
    "QueueLimitsIn": {"concurrency": 5, "rate": 600, "per": 300.0},
    "QueueLimitsOut": {"concurrency": 5, "rate": 600, "per": 300.0, "length": None},
    "ScheduleOrder": {
        "name": "nightly", "kind": "import-orders", "args": {"shop": "acme"},
        "cron": "0 3 * * *", "timezone": "Europe/Berlin",
    },
    "ScheduleOut": _SCHEDULE,
    "ScheduleWhole": {**_SCHEDULE, "fires": [_FIRE]},
    "FireOut": _FIRE,
    "DepthOut": {"at": _AT, "available": 31, "oldest_wait": 74.5},
    "WorkerOut": {
        "id": "w-5f3c", "host": "worker-1", "pid": 4711, "version": "0.1.0", "queues": ["imports"],
        "concurrency": 2, "running": 2, "started_at": _AT, "seen_at": _LATER,
    },
    "DefinitionOut": {
        "kind": "import-orders", "queue": "imports", "priority": 0, "max_attempts": 3,
        "pool": "coroutine", "time_limit": 1800.0, "paused": False,
        "args": {
            "type": "object", "properties": {"shop": {"type": "string"}}, "required": ["shop"],
        },
    },
    "ConnectionOrder": {"name": "shop", "source": _SOURCE, "credentials": {"TOKEN": "s3cr3t"}},
    "Described": {"source": _SOURCE, "credentials": {"TOKEN": "s3cr3t"}},
    "ConnectionOut": {
        "name": "shop", "kind": "http", "problem": None, "encrypted": True, "created_at": _AT,
        "updated_at": _AT,
    },
    "SnapshotOut": {
        "name": "shop", "source": "connection", "into": "shop.db", "tables": ["orders"],
        "created_at": _AT, "updated_at": _AT,
    },
    "TableOut": {
        "name": "orders", "rows": 4800, "deleted": 3, "columns": {"id": "integer", "name": "text"},
    },
    "SyncOrder": {"tables": ["orders"]},
    "TokenOrder": {"name": "robot", "role": "operator", "owner": "acme"},
    "TokenMade": {"id": 2, "token": "milepost_kq3v7mXjX0n5c0bZb1gYl2Zt8r4wP9sD6uEaFhJkLmN"},
    "TokenOut": {
        "id": 2, "name": "robot", "role": "operator", "owner": "acme", "created_at": _AT,
        "revoked_at": None,
    },
    "Problem": {
        "type": "about:blank", "title": "No such job", "status": 404, "detail": "no job 42",
    },
}  # fmt: skip
"""By the names of schemas. A list of one of these, or an object of it, has it as its member."""

OF_REPLIES: Final[Mapping[str, Any]] = {
    "/api/v1/snapshots/{name}/rows": [{"id": 1, "name": "Order 1", "paid": True}],
    "/healthz": {"status": "ok"},
    "/readyz": {"store": "ok", "migrations": "ok", "redis": "ok"},
}
"""By their addresses, where a reply has no schema of its own."""
