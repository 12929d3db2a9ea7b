"""A message that is read at three in the morning."""

from datetime import UTC, datetime, timedelta

from milepost.notifiers.messages import MOST_GROUPS, compose
from milepost.store.notices import About, Batch, Notice

NIGHT = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


def failed(number: int, detail: str, kind: str = "import-orders") -> Notice:
    at = NIGHT + timedelta(seconds=number)
    return Notice(About.JOB_FAILED, kind, "sync", None, number, None, detail, at)


def test_what_says_the_same_is_one_line_with_the_newest_jobs() -> None:
    notices = [failed(n, f"Timeout: no answer\nline {n}") for n in range(1, 1001)]
    gone = Notice(About.WORKER_GONE, None, None, None, None, "w1", "process 7 on far", NIGHT)
    message = compose(Batch("b", [*notices, gone]), at=NIGHT)
    assert message.title == "Milepost: 1,000 jobs failed, 1 worker is gone"
    assert message.text == (
        "2026-03-01 03:16:40 UTC import-orders in queue sync, 1,000 jobs failed: "
        "Timeout: no answer (newest: 996, 997, 998, 999, 1000)\n"
        "2026-03-01 03:00:00 UTC w1, worker is gone: process 7 on far"
    )
    linked = compose(Batch("b", [failed(4, "x")]), at=NIGHT, public_url="https://jobs.example/")
    assert linked.text.splitlines()[1] == "  https://jobs.example/jobs/4"
    assert linked.title == "Milepost: 1 job failed (import-orders)"


def test_a_message_stays_short_however_many_errors_there_are() -> None:
    message = compose(
        Batch("b", [failed(n, f"error {n} " + "x" * 5000) for n in range(500)]), at=NIGHT
    )
    assert len(message.groups) == MOST_GROUPS
    assert message.left_out == 480
    assert message.text.endswith("and 480 kinds of notice more")
    assert len(message.text) < 10_000
    assert message.as_json()["counts"] == {"job-failed": 500}
