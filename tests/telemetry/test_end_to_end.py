"""Submitted over HTTP to one process, run in another, exported to a collector and scraped."""

import csv
import json

import pytest

from tests.telemetry.collector import Span
from tests.telemetry.conftest import TOKEN, TRACE, Fleet, get, soon

PRODUCER, CONSUMER = 4, 5
PARENT = "00f067aa0ba902b7"


def named(spans: list[Span], name: str) -> list[Span]:
    return [span for span in spans if span.name == name]


def descends(span: Span, ancestor_id: str, spans: list[Span]) -> bool:
    """Whether a span has an ancestor. The web framework may keep spans of its own between."""
    by_id = {each.id: each for each in spans}
    while span.parent_id in by_id:
        span = by_id[span.parent_id]
    return span.parent_id == ancestor_id


def test_a_trace_goes_from_the_request_to_each_page(fleet: Fleet) -> None:
    with (fleet.folder / "rows.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "name"])
        rows.writerows([number, "x" * 20] for number in range(2500))
    before = fleet.value('milepost_records_downloaded_total{source="file"}')
    job_id = fleet.submit(
        "download-records",
        {
            "source": {"kind": "file", "path": str(fleet.folder / "rows.csv")},
            "into": f"sqlite:///{fleet.folder}/copy.db",
        },
        TRACE,
    )  # fmt: skip
    ended = fleet.ended(job_id)
    assert ended["state"] == "completed", ended["error"]
    pages = ended["result"]["tables"]["rows"]["pages"]
    spans = soon(
        lambda: (
            named(fleet.collector.of(TRACE), "run download-records") and fleet.collector.of(TRACE)
        ),
        "the spans",
    )

    [submitted] = named(spans, "submit download-records")
    assert (submitted.service, submitted.kind) == ("shop-web", PRODUCER)
    assert descends(submitted, PARENT, spans)
    [run] = named(spans, "run download-records")
    assert (run.service, run.kind, run.parent_id) == ("shop-worker", CONSUMER, submitted.id)
    assert run.facts["milepost.job.id"] == job_id
    assert run.facts["messaging.destination.name"] == "downloads"
    assert run.facts["milepost.outcome"] == "completed"
    assert run.facts["milepost.worker"]
    read, saved = named(spans, "read page"), named(spans, "save pages")
    assert pages > 1
    assert [span.facts["milepost.page"] for span in read] == list(range(1, pages + 1))
    assert sum(span.facts["milepost.records"] for span in read) == 2500
    assert sum(span.facts["milepost.records"] for span in saved) == 2500
    assert {span.parent_id for span in (*read, *saved)} == {run.id}

    after = fleet.value('milepost_records_downloaded_total{source="file"}')
    assert after - before == 2500


def test_a_child_process_goes_on_with_the_trace_of_its_job(fleet: Fleet) -> None:
    trace = "11112222333344445555666677778888"
    fleet.ended(fleet.submit("talks-in-a-process", {"word": "ahoy"}, trace))
    [step] = soon(lambda: named(fleet.collector.of(trace), "count"), "the child's span")
    [run] = soon(lambda: named(fleet.collector.of(trace), "run talks-in-a-process"), "the attempt")
    assert (step.parent_id, step.service) == (run.id, "shop-worker")
    assert (step.facts["milepost.of"], step.facts["milepost.letters"]) == ("ahoy", 4)
    assert run.facts["milepost.pool"] == "process"


@pytest.mark.parametrize("kind", ["talks", "talks-in-a-thread", "talks-in-a-process"])
def test_every_line_says_which_job_it_belongs_to(fleet: Fleet, kind: str) -> None:
    job_id = fleet.submit(kind, {"word": "ahoy"}, queue="default")
    fleet.ended(job_id)
    lines = soon(
        lambda: (found := fleet.lines(job_id)) and "completed" in found[-1]["event"] and found,
        "the end of the attempt",
    )
    own = {line["event"]: line for line in lines}
    said = {"ahoy by the job's log", "ahoy by structlog", "ahoy by logging, with $SHOP_TOKEN"}
    assert said <= own.keys()
    if kind == "talks":
        assert "ahoy in a thread" in own
    for line in lines:
        assert (line["kind"], line["queue"]) == (kind, "default")
        # A process that is not ready yet may give the first back.
        assert line["attempt"] >= 1
        assert line["worker"]
        assert line["timestamp"]
    assert own["ahoy by structlog"]["shop"] == "acme"
    assert own["ahoy by structlog"]["token"] == "***"
    log = (fleet.folder / "worker.log").read_text()
    assert TOKEN not in log
    assert "t0p-s3cret" not in log


def test_what_happened_is_seen_on_a_scrape(fleet: Fleet) -> None:
    ended = 'milepost_jobs_finished_total{kind="talks",state="cancelled"}'
    before = fleet.scrape()
    assert f"{ended} " in before
    job_id = fleet.submit("talks", {"wait": True})
    soon(lambda: fleet.show(job_id)["state"] == "running", "the start")
    soon(lambda: fleet.value('milepost_worker_running{pool="coroutine"}') == 1, "the gauge")
    fleet.post(f"/jobs/{job_id}/cancel", {"wait": 20})
    soon(lambda: fleet.value(ended) == 1, "the count")
    assert fleet.value('milepost_cancels_total{kind="talks"}') == 1
    assert fleet.value("milepost_cancel_seconds_count") == 1
    assert 0 < fleet.value("milepost_cancel_seconds_sum") < 20
    assert fleet.value('milepost_worker_running{pool="coroutine"}') == 0
    assert fleet.value("milepost_worker_slots") == 2
    assert fleet.value("milepost_workers") == 1
    assert fleet.value("milepost_store_up") == 1

    status, of_the_web = get(f"{fleet.url}/metrics")
    assert status == 200
    assert 'milepost_jobs_submitted_total{kind="talks"}' in of_the_web
    assert 'milepost_queue_jobs{queue="downloads",state="available"}' in of_the_web


def test_a_job_that_fails_says_so_on_its_span(fleet: Fleet) -> None:
    trace = "99992222333344445555666677778888"
    args = {"source": {"kind": "file", "path": "/nowhere.csv"}, "into": "sqlite:////tmp/x.db"}
    fleet.ended(fleet.submit("download-records", args, trace, max_attempts=1))
    [run] = soon(lambda: named(fleet.collector.of(trace), "run download-records"), "the attempt")
    assert (run.status, run.facts["milepost.outcome"]) == (2, "failed")
    assert json.dumps(run.facts["milepost.job.state"]) == '"failed"'
