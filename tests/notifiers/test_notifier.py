"""People are told of what they want to know, once, whatever the receiver does."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from standardwebhooks import Webhook, WebhookVerificationError

from milepost.jobs.leases import Settlement
from milepost.jobs.outcomes import Failed, Waiting
from milepost.jobs.requests import JobRequest
from milepost.settings import NotifySettings
from milepost.store import children, jobs, notices, watches, workers
from milepost.store.notices import About
from milepost.store.tables import routes
from milepost.store.workers import WorkerRecord
from milepost.worker.watcher import Watcher
from tests.notifiers.conftest import COMPLETED, FAILED, Line, Receiver


async def test_a_failure_for_good_is_told_with_a_signature_and_so_is_its_recovery(
    line: Line, receiver: Receiver
) -> None:
    secret = await line.tell(receiver)
    [failed, _] = line.end([FAILED, COMPLETED])
    await line.notifier.tick()

    [(headers, body)] = receiver.requests
    told: Any = Webhook(secret).verify(body, headers)
    assert told["type"] == "milepost.notices"
    assert told["data"]["title"] == "Milepost: 1 job failed (k)"
    assert told["data"]["counts"] == {"job-failed": 1}
    [group] = told["data"]["groups"]
    assert (group["job_ids"], group["queue"], group["count"]) == ([failed], "q", 1)
    assert group["detail"] == "ShopClosed: come back tomorrow"
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body.replace(b"1 job", b"2 job"), headers)

    line.again(failed, COMPLETED)
    await line.notifier.tick()
    assert receiver.taken[1]["data"]["counts"] == {"job-recovered": 1}
    await line.notifier.tick()
    assert len(receiver.requests) == 2


async def test_a_failure_that_is_tried_again_and_one_that_is_rolled_back_are_not_told(
    line: Line, receiver: Receiver
) -> None:
    await line.tell(receiver)
    line.end([Failed("not yet")], max_attempts=2)

    def fail_and_roll_back() -> None:
        with line.database.begin() as conn:
            line.end_in(conn, [FAILED])
            raise KeyError

    with pytest.raises(KeyError):
        fail_and_roll_back()
    await line.notifier.tick()
    assert receiver.requests == []


async def test_who_fails_because_of_a_job_it_waits_for_is_told_once_and_so_is_its_recovery(
    line: Line, receiver: Receiver
) -> None:
    await line.tell(receiver)
    with line.database.begin() as conn:
        fields: Any = {"kind": "k", "args": "{}", "queue": "q", "priority": 0, "max_attempts": 1}
        [first] = jobs.submit(conn, line.clock, [JobRequest(**fields)])
        waits = JobRequest(**fields | {"queue": "joins"}, after=(first.job_id,))
        [parent] = jobs.submit(conn, line.clock, [waits])
        line.run(conn, FAILED)
    await line.notifier.tick()
    assert receiver.taken[0]["data"]["counts"] == {"job-failed": 2}
    told = {
        each: group for group in receiver.taken[0]["data"]["groups"] for each in group["job_ids"]
    }
    assert "which it waits for, failed: ShopClosed" in told[parent.job_id]["detail"]

    line.again(first.job_id, COMPLETED)
    with line.database.begin() as conn:
        line.run(conn, COMPLETED, queue="joins")
    await line.notifier.tick()
    assert [each["data"]["counts"] for each in receiver.taken[1:]] == [{"job-recovered": 2}]


async def test_who_waits_for_what_has_failed_already_is_told_once(
    line: Line, receiver: Receiver
) -> None:
    [failed] = line.end([FAILED])
    await line.tell(receiver)
    with line.database.begin() as conn:
        fields: Any = {"kind": "k", "args": "{}", "queue": "q", "priority": 0, "max_attempts": 1}
        jobs.submit(conn, line.clock, [JobRequest(**fields)])
        [parent] = line.claim(conn)
        child = [JobRequest(**fields | {"queue": "children"})]
        children.add(conn, line.clock, parent.lease, lambda _: child)
        line.run(conn, FAILED, queue="children")
        jobs.settle(conn, line.clock, [Settlement(parent, Waiting("fail"))])
    await line.notifier.tick()
    [told] = receiver.taken
    assert told["data"]["counts"] == {"job-failed": 2}
    assert failed not in {each for group in told["data"]["groups"] for each in group["job_ids"]}


async def test_a_job_that_kills_its_workers_is_told_when_it_is_given_up(
    line: Line, receiver: Receiver
) -> None:
    await line.tell(receiver)
    with line.database.begin() as conn:
        line.end_in(conn, [Failed("again")], max_attempts=2)
        jobs.promote(conn, line.clock, limit=1)
    with line.database.begin() as conn:
        request = JobRequest(kind="k", args="{}", queue="r", priority=0, max_attempts=1)
        jobs.submit(conn, line.clock, [request])
        jobs.claim(
            conn, line.clock, queue="r", kinds=["k"], limit=1,
            lease_for=timedelta(seconds=-1), worker_id="w",
        )  # fmt: skip
        jobs.rescue(conn, line.clock, most_rescues=1)
    await line.notifier.tick()
    [message] = receiver.taken
    assert message["data"]["groups"][0]["detail"].startswith("its worker died 1 times in a row")


async def test_ten_thousand_failures_while_the_receiver_is_down_are_a_few_messages_and_all_arrive(
    line: Line, receiver: Receiver
) -> None:
    await line.tell(receiver)
    receiver.status = 503
    for part in range(20):
        line.end(
            [Failed(f"{reason}: no", recoverable=False) for reason in "ab" for _ in range(250)]
        )
        if part == 10:
            refused = len(receiver.requests)
            assert refused > 0
            receiver.status = 204
        await line.notifier.tick()
        await asyncio.sleep(0.002)  # The wait after a refusal is 1 ms here.
    await _until_told(line)

    sizes = {each["id"]: each["data"]["counts"]["job-failed"] for each in receiver.taken}
    assert sum(sizes.values()) == 10_000
    assert len(receiver.taken) == len(sizes) <= 11
    # What was refused was offered again under the same id.
    assert receiver.requests[0][0]["webhook-id"] == receiver.taken[0]["id"]
    first = receiver.taken[0]["data"]
    assert Counter({each["detail"]: each["count"] for each in first["groups"]}) == Counter(
        {"a: no": 250, "b: no": 250}
    )


async def _until_told(line: Line) -> None:
    for _ in range(200):
        await line.notifier.tick()
        if not (await line.milepost.routes.listed())[0].waiting:
            return
        await asyncio.sleep(0.01)
    pytest.fail("not all was told")


async def test_a_message_whose_answer_was_lost_comes_again_with_the_same_id(
    line: Line, receiver: Receiver
) -> None:
    await line.tell(receiver)
    line.end([FAILED])
    clock = line.clock
    batch = await line.database.run(notices.take, clock, "ops", gather_for=timedelta(0))
    assert batch is not None
    # Who took it in hand is gone. Until its time is up nobody else sends it.
    await line.notifier.tick()
    assert receiver.requests == []
    await line.database.run(notices.not_sent, clock, "ops", "its time is up", again=timedelta(0))
    line.end([FAILED])
    await line.notifier.tick()
    await line.notifier.tick()
    assert [each["data"]["counts"]["job-failed"] for each in receiver.taken] == [1, 1]
    assert receiver.taken[0]["id"] == batch.id != receiver.taken[1]["id"]


async def test_many_notifiers_of_one_store_send_each_message_once(
    line: Line, receiver: Receiver
) -> None:
    await line.tell(receiver)
    others = [line.another() for _ in range(5)]
    for _ in range(5):
        line.end([FAILED])
        await asyncio.gather(*(each.tick() for each in others))
    assert sum(each["data"]["counts"]["job-failed"] for each in receiver.taken) == 5
    assert len({each["id"] for each in receiver.taken}) == len(receiver.taken)


async def test_a_route_is_told_of_what_it_names_alone(line: Line, receiver: Receiver) -> None:
    await line.tell(receiver, "kind", kind="k", about=[About.JOB_FAILED])
    await line.tell(receiver, "queue", queue="other")
    await line.tell(receiver, "owner", owner="ann")
    await line.tell(receiver, "recovered", about=[About.JOB_RECOVERED])
    line.end([FAILED], owner="ann")
    line.end([FAILED], kind="l", queue="other", owner="bob")
    waiting = {each.name: each.waiting for each in await line.milepost.routes.listed()}
    assert waiting == {"kind": 1, "queue": 1, "owner": 1, "recovered": 0}


async def test_the_next_message_waits_as_long_as_the_route_rests_or_the_receiver_asks(
    line: Line, receiver: Receiver
) -> None:
    await line.tell(receiver)
    patient = line.another(NotifySettings(gather_for=timedelta(0), rest_for=timedelta(hours=1)))
    line.end([FAILED])
    await patient.tick()
    line.end([FAILED])
    await patient.tick()
    assert len(receiver.taken) == 1

    await line.tell(receiver, "another")
    receiver.status, receiver.headers = 429, {"Retry-After": "1000"}
    line.end([FAILED])
    await line.notifier.tick()
    await line.notifier.tick()
    assert len(receiver.requests) == 2
    with line.database.read() as conn:
        due_at = conn.execute(
            select(routes.c.due_at).where(routes.c.name == "another")
        ).scalar_one()
    assert due_at - datetime.now(UTC) > timedelta(seconds=900)
    [another, _] = await line.milepost.routes.listed()
    assert another.error == f"{another.shown} answered 429"


async def test_workers_that_are_gone_are_told_once_and_may_come_back(
    line: Line, receiver: Receiver
) -> None:
    await line.tell(receiver)
    watcher = Watcher(line.database, late_after=timedelta(hours=1), gone_after=timedelta(0))
    silent = WorkerRecord(
        id="w1", host="far", host_key="far", pid=7, version="1", queues=(), kinds=(), concurrency=1
    )
    dead = WorkerRecord(
        id="w2",
        host="here",
        host_key="here",
        pid=8,
        version="1",
        queues=(),
        kinds=(),
        concurrency=1,
    )
    await line.database.run(workers.register, line.clock, dead)
    await line.database.run(watches.of_dead_workers, line.clock, ["w2"])
    await line.database.run(workers.register, line.clock, silent)
    await asyncio.sleep(0.002)  # SQLite keeps milliseconds.
    await watcher.tick()
    await watcher.tick()
    await line.notifier.tick()
    [message] = receiver.taken
    assert message["data"]["counts"] == {"worker-gone": 2}
    said = {each["subject"]: each["detail"] for each in message["data"]["groups"]}
    assert said["w2"] == "process 8 on here ended without a word"
    assert said["w1"].startswith("process 7 on far was last seen at ")

    assert await line.database.query(workers.unstopped) == []
    await line.database.run(workers.seen, line.clock, "w1", running=0)
    [back] = await line.database.query(workers.unstopped)
    assert back.id == "w1"


async def test_a_queue_that_waits_too_long_is_told_once_and_so_is_its_end(
    line: Line, receiver: Receiver
) -> None:
    await line.tell(receiver)
    watcher = Watcher(line.database, late_after=timedelta(0), still_late_after=timedelta(0))
    request = JobRequest(kind="k", args="{}", queue="q", priority=0, max_attempts=1)
    [job] = await line.database.run(jobs.submit, line.clock, [request])
    await asyncio.sleep(0.002)
    # Seen once it may be a moment's matter.
    await watcher.tick()
    await line.notifier.tick()
    assert receiver.requests == []
    await watcher.tick()
    await watcher.tick()
    await line.notifier.tick()
    assert receiver.taken[0]["data"]["title"] == "Milepost: 1 queue waits too long (q)"

    await line.database.run(jobs.cancel, line.clock, job.job_id, None)
    await watcher.tick()
    await watcher.tick()
    await line.notifier.tick()
    assert receiver.taken[1]["data"]["title"] == "Milepost: 1 queue begins in time again (q)"
    assert len(receiver.taken) == 2
