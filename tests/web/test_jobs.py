"""Jobs over HTTP, as a program steers them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from milepost import bulk
from milepost.jobs.retention import Keep
from milepost.jobs.states import JobState
from milepost.store import jobs, pruning, reading
from tests.web.conftest import Service


async def test_a_job_is_submitted_and_shown_with_its_course(working: Service) -> None:
    reply = await working.http.post(
        "/jobs",
        json={"kind": "steps", "args": {"steps": 3}, "tags": ["a"], "priority": 7, "owner": "ann"},
    )
    assert reply.status_code == 201
    assert reply.headers["location"] == f"/api/v1/jobs/{reply.json()['id']}"
    job_id = reply.json()["id"]
    assert await working.ended(job_id) == "completed"

    shown = (await working.http.get(f"/jobs/{job_id}")).json()
    assert (shown["args"], shown["result"]) == ({"steps": 3, "fail": "", "wait": False}, "done")
    assert (shown["checkpoint"], shown["tags"], shown["owner"]) == ({"step": 3}, ["a"], "ann")
    assert shown["priority"] == 7
    assert shown["progress"]["percentage"] == 100
    assert [each["outcome"] for each in shown["attempts"]] == ["completed"]
    logs = (await working.http.get(f"/jobs/{job_id}/logs")).json()
    assert [each["message"] for each in logs] == ["step 0", "step 1", "step 2"]
    after = (await working.http.get(f"/jobs/{job_id}/logs?after={logs[1]['id']}")).json()
    assert [each["message"] for each in after] == ["step 2"]
    assert (await working.http.get(f"/jobs/{job_id}/progress")).json()[-1]["count"] == 3


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"kind": "nope", "args": {}}, 422, "known kinds: "),
        ({"kind": "steps", "args": {"steps": "many"}}, 422, "steps"),
        ({"kind": "steps", "args": {"stepz": 1}}, 422, "stepz"),
        ({"kind": "steps", "args": {}, "priority": -1}, 422, "body.priority"),
        ({"kind": "steps", "args": {}, "prio": 1}, 422, "body.prio"),
        ({"kind": "steps", "args": {}, "run_at": "2026-01-01T00:00:00"}, 422, "time zone"),
        ({"kind": "steps", "args": {"fail": "x" * 1_000_001}}, 413, "1,000,000"),
        ({"kind": "steps", "args": {"fail": "x" * 2_000_000}}, 413, "1,064,000"),
    ],
)
async def test_a_bad_submission_is_a_problem_that_says_what_is_wrong(
    service: Service, body: object, status: int, says: str
) -> None:
    reply = await service.http.post("/jobs", json=body)
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["status"] == status
    assert says in reply.json()["detail"]
    assert await service.milepost.database.query(reading.recent) == []


async def test_a_body_without_a_length_is_limited_too(service: Service) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    reply = await service.http.post("/jobs", content=endless())
    assert reply.status_code == 413


async def test_the_same_request_again_is_the_same_job(service: Service) -> None:
    body = {"kind": "steps", "args": {"steps": 1}}
    key = {"Idempotency-Key": "order-1"}
    replies = await asyncio.gather(
        *(service.http.post("/jobs", json=body, headers=key) for _ in range(8))
    )
    assert {reply.json()["id"] for reply in replies} == {replies[0].json()["id"]}
    assert sorted(reply.status_code for reply in replies) == [200] * 7 + [201]
    assert len(await service.milepost.database.query(reading.recent)) == 1

    other = await service.http.post("/jobs", json={"kind": "steps", "args": {}}, headers=key)
    assert other.status_code == 422
    assert "which became job" in other.json()["detail"]


async def test_a_unique_key_gives_the_job_that_is_there(service: Service) -> None:
    first = await service.submit(unique_key="one")
    again = await service.http.post(
        "/jobs", json={"kind": "steps", "args": {}, "unique_key": "one"}
    )
    assert (again.status_code, again.json()["id"], again.json()["existed"]) == (200, first, True)


async def test_lists_are_filtered_and_go_on_from_page_to_page(service: Service) -> None:
    ids = [await service.submit(tags=[f"n{n % 2}"], queue=f"q{n % 3}") for n in range(7)]
    await service.http.post(f"/jobs/{ids[0]}/cancel", json={"reason": "no", "wait": 0})

    async def listed(**query: object) -> list[int]:
        found: list[int] = []
        before = None
        while True:
            params: Any = {**query, "limit": 2} | ({} if before is None else {"before": before})
            page = (await service.http.get("/jobs", params=params)).json()
            found += [each["id"] for each in page["items"]]
            if (before := page["next"]) is None:
                return found

    assert await listed() == ids[::-1]
    assert await listed(state="cancelled") == [ids[0]]
    assert await listed(state=["cancelled", "available"]) == ids[::-1]
    assert await listed(tag="n1") == ids[5::-2]
    assert await listed(queue="q2") == [ids[5], ids[2]]
    assert await listed(search=str(ids[3])) == [ids[3]]
    assert await listed(kind="none") == []
    assert (await service.http.get("/jobs?limit=501")).status_code == 422


async def test_a_cancel_says_what_became_of_it(working: Service) -> None:
    job_id = await working.submit(args={"wait": True})

    async def runs() -> bool:
        return (await working.http.get(f"/jobs/{job_id}")).json()["state"] == "running"

    await working.until(runs, "the job to run")
    told = (await working.http.post(f"/jobs/{job_id}/cancel", json={"reason": "enough"})).json()
    assert (told["cancelled"], told["told"]) == (True, f"job {job_id} is cancelled")
    again = (await working.http.post(f"/jobs/{job_id}/cancel")).json()
    assert again["cancelled"] is True
    assert (await working.http.get(f"/jobs/{job_id}")).json()["cancel_reason"] == "enough"


async def test_a_failed_job_is_retried_once_and_a_completed_one_never(working: Service) -> None:
    job_id = await working.submit(args={"steps": 2, "fail": "broken"})
    assert await working.ended(job_id) == "failed"
    retried = await working.http.post(f"/jobs/{job_id}/retry")
    assert retried.status_code == 200
    assert await working.ended(job_id) == "failed"
    again = (await working.http.get(f"/jobs/{job_id}")).json()
    assert (again["attempt"], again["failures"]) == (2, 1)
    done = await working.submit()
    assert await working.ended(done) == "completed"
    refused = await working.http.post(f"/jobs/{done}/retry")
    assert refused.status_code == 409
    assert "is completed" in refused.json()["detail"]
    assert (await working.http.patch(f"/jobs/{done}", json={"priority": 1})).status_code == 409


async def test_many_jobs_are_steered_at_once_after_a_dry_run(service: Service) -> None:
    ids = [await service.submit(queue="a" if n < 4 else "b") for n in range(6)]
    order = {"meant": {"queue": "a"}, "reason": "all"}
    dry = (await service.http.post("/jobs/cancel", json={**order, "dry_run": True})).json()
    assert dry == {"meant": 4, "changed": 0, "more": False}
    done = (await service.http.post("/jobs/cancel", json=order)).json()
    assert done == {"meant": 4, "changed": 4, "more": False}
    assert (await service.http.post("/jobs/cancel", json=order)).json()["meant"] == 0

    again = await service.http.post("/jobs/retry", json={"meant": {"states": ["cancelled"]}})
    assert again.json() == {"meant": 4, "changed": 4, "more": False}
    states = {each.id: each.state for each in await service.milepost.database.query(reading.recent)}
    assert states == dict.fromkeys(ids, "available")


@pytest.mark.parametrize("act", ["cancel", "retry"])
async def test_one_that_is_pruned_meanwhile_does_not_end_it_for_the_others(
    service: Service, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    database, broker = service.milepost.database, service.milepost.broker
    ids = [await service.submit() for _ in range(3)]
    if act == "retry":
        await service.http.post("/jobs/cancel", json={"meant": {}})
    send = broker.send
    changed: list[int] = []

    async def prune_another(job_ids: Sequence[int]) -> None:
        await send(job_ids)
        changed.extend(job_ids)
        if job_ids and len(changed) == 1:
            [another] = [each for each in ids if each not in changed][:1]
            await database.run(jobs.cancel, database.clock, another, None)
            keep = {JobState.CANCELLED: Keep(timedelta(0))}
            [past] = await database.run(pruning.look, database.clock, keep)
            await database.run(pruning.prune, database.clock, past)

    monkeypatch.setattr(bulk, "AT_ONCE", 1)
    monkeypatch.setattr(broker, "send", prune_another)
    reply = await service.http.post(f"/jobs/{act}", json={"meant": {}})
    assert (reply.status_code, reply.json()["meant"]) == (200, 3)
    assert reply.json()["changed"] == len(changed) == (2 if act == "cancel" else 1)


async def test_priority_is_changed_before_a_job_ends(service: Service) -> None:
    job_id = await service.submit(priority=9)
    changed = await service.http.patch(f"/jobs/{job_id}", json={"priority": 2})
    assert changed.json()["priority"] == 2


@pytest.mark.parametrize("path", ["", "/logs", "/progress", "/events"])
async def test_a_job_that_is_not_there_is_not_found(service: Service, path: str) -> None:
    reply = await service.http.get(f"/jobs/999{path}")
    assert (reply.status_code, reply.json()["title"]) == (404, "No such job")


async def test_what_is_around_jobs_is_shown(working: Service) -> None:
    await working.submit(queue="quiet")
    failed = await working.submit(args={"fail": "no such shop"})
    await working.ended(failed)
    [queue] = (await working.http.get("/queues")).json()
    assert (queue["name"], queue["available"]) == ("quiet", 1)
    [worker] = (await working.http.get("/workers")).json()
    assert "default" in worker["queues"]
    kinds = {each["kind"]: each for each in (await working.http.get("/definitions")).json()}
    assert "steps" in kinds["steps"]["args"]["properties"]
    [group] = (await working.http.get("/failures")).json()
    assert (group["error"], group["count"], group["newest_id"]) == ("no such shop", 1, failed)
    back = (await working.http.get("/overview?minutes=5")).json()
    assert (back["failed"], back["completed"], len(back["slots"])) == (1, 0, 5)
    assert (await working.http.get("/connections")).json() == []
    assert (await working.http.get("/snapshots")).json() == []


async def test_a_queue_may_be_paused_by_many_at_once(service: Service) -> None:
    replies = await asyncio.gather(*(service.http.post("/queues/q/pause") for _ in range(8)))
    assert {reply.status_code for reply in replies} == {204}
    [queue] = (await service.http.get("/queues")).json()
    assert (queue["name"], queue["paused"]) == ("q", True)
    assert (await service.http.post("/queues/q/resume")).status_code == 204
    assert (await service.http.get("/queues")).json() == []


async def test_a_full_queue_says_when_to_come_again(service: Service) -> None:
    for _ in range(2):
        await service.submit()
    limits = {"concurrency": 3, "rate": 10, "per": 1.5, "length": 2}
    shown = await service.http.put("/queues/default/limits", json=limits)
    assert shown.json() == limits
    [queue] = (await service.http.get("/queues")).json()
    assert queue["limits"] == limits

    async def refused() -> Any:
        reply = await service.http.post("/jobs", json={"kind": "steps", "args": {}})
        return reply if reply.status_code == 503 else None

    # It counts once a second.
    reply = await service.until(refused, "a full queue")
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["retry-after"] == "60"
    assert "is full" in reply.json()["detail"]
    assert "the limit is 2; try again in about 60 s" in reply.json()["detail"]
    half = await service.http.put("/queues/default/limits", json={"rate": 10})
    assert (half.status_code, "go together" in half.text) == (422, True)


async def test_a_kind_is_paused_and_goes_on(working: Service) -> None:
    assert (await working.http.post("/definitions/steps/pause")).status_code == 204
    kinds = {
        each["kind"]: each["paused"] for each in (await working.http.get("/definitions")).json()
    }
    assert kinds.pop("steps")
    assert not any(kinds.values())
    assert (await working.http.post("/definitions/steps/resume")).status_code == 204
    assert await working.ended(await working.submit()) == "completed"
