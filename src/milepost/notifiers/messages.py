"""What a message says: many notices that say the same are one line of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from milepost.jobs.leases import JobId
from milepost.store.notices import About, Batch, Notice

MOST_GROUPS: Final = 20
MOST_JOBS: Final = 5
LONGEST_REASON: Final = 300

_ONE: Final = {
    About.JOB_FAILED: "job failed",
    About.JOB_RECOVERED: "job recovered",
    About.WORKER_GONE: "worker is gone",
    About.QUEUE_LATE: "queue waits too long",
    About.QUEUE_RECOVERED: "queue begins in time again",
}
_MANY: Final = {
    About.JOB_FAILED: "jobs failed",
    About.JOB_RECOVERED: "jobs recovered",
    About.WORKER_GONE: "workers are gone",
    About.QUEUE_LATE: "queues wait too long",
    About.QUEUE_RECOVERED: "queues begin in time again",
}


@dataclass(frozen=True, slots=True)
class Group:
    """Notices that say the same: how many, when, and of the newest jobs the ids."""

    about: About
    kind: str | None
    queue: str | None
    owner: str | None
    subject: str | None
    detail: str | None
    count: int
    first_at: datetime
    last_at: datetime
    job_ids: Sequence[JobId]


@dataclass(frozen=True, slots=True)
class Message:
    """What one route is told at once. Sent again, it has the same id."""

    id: str
    at: datetime
    title: str
    text: str
    counts: Mapping[str, int]
    groups: Sequence[Group]
    left_out: int

    def as_json(self) -> dict[str, Any]:
        """Spell it for programs; `left_out` counts groups that are only in the counts."""
        return {
            "title": self.title,
            "counts": dict(self.counts),
            "groups": [
                {
                    "about": each.about.value, "kind": each.kind, "queue": each.queue,
                    "owner": each.owner, "subject": each.subject, "detail": each.detail,
                    "count": each.count, "first_at": each.first_at, "last_at": each.last_at,
                    "job_ids": list(each.job_ids),
                }
                for each in self.groups
            ],
            "left_out": self.left_out,
        }  # fmt: skip


def compose(batch: Batch, *, at: datetime, public_url: str | None = None) -> Message:
    """Make a message of notices, the largest groups first; with links where the dashboard is."""
    alike: dict[tuple[str | None, ...], list[Notice]] = {}
    for notice in batch.notices:
        key = (notice.about, notice.kind, notice.queue, notice.owner, notice.subject)
        alike.setdefault((*key, _reason(notice)), []).append(notice)
    groups = [_group(them) for them in sorted(alike.values(), key=lambda them: -len(them))]
    counts = Counter(notice.about for notice in batch.notices)
    shown, left_out = groups[:MOST_GROUPS], len(groups[MOST_GROUPS:])
    lines = [_line(each, public_url) for each in shown]
    if left_out:
        lines.append(f"and {left_out} kinds of notice more")
    return Message(
        batch.id, at, _title(counts, groups), "\n".join(lines),
        {about.value: count for about, count in counts.items()}, shown, left_out,
    )  # fmt: skip


def _reason(notice: Notice) -> str | None:
    return (notice.detail or "").partition("\n")[0][:LONGEST_REASON] or None


def _group(alike: Sequence[Notice]) -> Group:
    first, last = alike[0], alike[-1]
    newest = [each.job_id for each in alike if each.job_id is not None][-MOST_JOBS:]
    return Group(
        first.about, first.kind, first.queue, first.owner, first.subject, _reason(first),
        count=len(alike), first_at=first.at, last_at=last.at, job_ids=newest,
    )  # fmt: skip


def _title(counts: Counter[About], groups: Sequence[Group]) -> str:
    parts = [
        f"{counts[about]:,} {_ONE[about] if counts[about] == 1 else _MANY[about]}"
        for about in About
        if counts[about]
    ]
    concerned = {each.kind or each.subject for each in groups}
    [only] = concerned if len(concerned) == 1 else [None]
    return f"Milepost: {', '.join(parts)}" + (f" ({only})" if only else "")


def _line(group: Group, public_url: str | None) -> str:
    what = _ONE[group.about] if group.count == 1 else f"{group.count:,} {_MANY[group.about]}"
    when = f"{group.last_at:%Y-%m-%d %H:%M:%S} UTC"
    where = group.subject or f"{group.kind} in queue {group.queue}"
    owner = f" of {group.owner}" if group.owner else ""
    detail = f": {group.detail}" if group.detail else ""
    line = f"{when} {where}{owner}, {what}{detail}"
    if group.job_ids and public_url:
        links = " ".join(f"{public_url.rstrip('/')}/jobs/{job_id}" for job_id in group.job_ids)
        return f"{line}\n  {links}"
    if group.job_ids:
        newest = ", ".join(str(job_id) for job_id in group.job_ids)
        return f"{line} (job {newest})" if group.count == 1 else f"{line} (newest: {newest})"
    return line
