"""Schedules over HTTP and on their page."""

from datetime import datetime, timedelta
from typing import Any

from milepost.access import Role
from tests.web.conftest import Service

BERLIN = {"every": None, "cron": "30 2 * * *", "timezone": "Europe/Berlin"}


async def test_a_schedule_is_added_shown_steered_and_removed(service: Service) -> None:
    added = await service.add_schedule(
        "nightly", **BERLIN, args={"steps": 2}, priority=3, jitter=60, catch_up="all",
        catch_up_limit=5, overlap="allow",
    )  # fmt: skip
    assert (added["kind"], added["args"]["steps"]) == ("steps", 2)
    assert (added["cron"], added["declared"], added["overdue"]) == ("30 2 * * *", False, False)
    [listed] = (await service.http.get("/schedules")).json()
    assert listed == added

    shown = (await service.http.get("/schedules/nightly", params={"next": 3})).json()
    assert shown["fires"] == []
    moments = [datetime.fromisoformat(each["at"]) for each in shown["next"]]
    assert len(moments) == 3
    assert all(each["local"][11:16] in ("02:30", "03:00") for each in shown["next"])
    assert timedelta(hours=22) < moments[1] - moments[0] < timedelta(hours=26)

    assert (await service.http.post("/schedules/nightly/pause")).status_code == 204
    assert (await service.http.get("/schedules/nightly")).json()["paused_at"] is not None
    assert (await service.http.post("/schedules/nightly/resume")).status_code == 204
    assert (await service.http.get("/schedules/nightly")).json()["paused_at"] is None

    made = await service.http.post("/schedules/nightly/run-now")
    assert made.status_code == 201
    job = (await service.http.get(f"/jobs/{made.json()['id']}")).json()
    assert (job["priority"], job["tags"]) == (3, ["schedule:nightly"])
    assert job["scheduled_for"] is not None

    assert (await service.http.delete("/schedules/nightly")).status_code == 204
    for reply in (
        await service.http.get("/schedules/nightly"),
        await service.http.delete("/schedules/nightly"),
        await service.http.post("/schedules/nightly/run-now"),
    ):
        assert (reply.status_code, reply.json()["title"]) == (404, "No such schedule")


async def test_workers_fire_what_was_added_over_http(working: Service) -> None:
    await working.add_schedule("often", every=1, overlap="allow")

    async def fires() -> Any:
        return (await working.http.get("/schedules/often")).json()["fires"]

    [fire, *_] = await working.until(fires, "a fire")
    assert await working.ended(fire["job_id"]) == "completed"
    job = (await working.http.get(f"/jobs/{fire['job_id']}")).json()
    assert job["scheduled_for"] == fire["moment"]


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"every": None, "cron": "61 * * * *"}, 422, "bad minute; it takes five fields"),
    ({**BERLIN, "timezone": "Mars"}, 422, "no time zone 'Mars'"),
    ({"cron": "0 3 * * *"}, 422, "give cron or every"),
    ({"every": None}, 422, "give cron or every"),
    ({"timezone": "UTC"}, 422, "timezone goes with cron"),
    ({"every": 0.5}, 422, "at least a second"),
    ({"catch_up": "all"}, 422, "needs overlap 'allow'"),
    ({"name": "a/b"}, 422, "none of them '/'"),
    ({"name": ".."}, 422, "printable"),
    ({"kind": "nosuch"}, 422, "no job kind 'nosuch'"),
    ({"args": {"step": 1}}, 422, "step: Unexpected"),
    ({"name": "there"}, 409, "there is a schedule 'there' already"),
]


async def test_what_does_not_fit_is_refused_and_says_why(service: Service) -> None:
    await service.add_schedule("there")
    for body, status, said in REFUSED:
        order = {"name": "new", "kind": "steps", "every": 60, **body}
        reply = await service.http.post("/schedules", json=order)
        assert (reply.status_code, said in reply.json()["detail"]) == (status, True), reply.text


async def test_owners_add_and_replace_their_own_alone(service: Service) -> None:
    await service.add_schedule("of-ann", owner="ann")
    changed = await service.add_schedule("of-ann", owner="ann", every=60, replace=True)
    assert changed["every"] == 60
    bob = service.client(await service.token(Role.OPERATOR, owner="bob"))
    order = {"name": "of-bob", "kind": "steps", "every": 60}
    assert (await bob.post("/schedules", json=order)).json()["owner"] == "bob"
    assert (await bob.post("/schedules", json={**order, "owner": "ann"})).status_code == 403
    theirs = {**order, "name": "of-ann", "replace": True}
    assert (await bob.post("/schedules", json=theirs)).status_code == 409
    assert [each["name"] for each in (await bob.get("/schedules")).json()] == ["of-bob"]
    assert (await service.milepost.schedules.find("of-ann")).owner == "ann"


async def test_the_page_shows_and_steers(service: Service) -> None:
    url = "http://localhost/schedules"
    assert "No schedules" in (await service.http.get(url)).text
    await service.add_schedule("a <b>", **BERLIN)
    shown = (await service.http.get(url)).text
    assert "a &lt;b&gt;" in shown
    assert "<code>30 2 * * *</code> Europe/Berlin" in shown
    paused = await service.http.post(f"{url}/a%20%3Cb%3E/pause", follow_redirects=True)
    assert "is paused" in paused.text
    assert ">Resume</button>" in paused.text
    resumed = await service.http.post(f"{url}/a%20%3Cb%3E/resume", follow_redirects=True)
    assert "goes on with its next moment" in resumed.text
    ran = await service.http.post(f"{url}/a%20%3Cb%3E/run-now", follow_redirects=True)
    assert "job 1" in ran.text
    viewer = service.client(await service.token(Role.VIEWER))
    assert "Pause</button>" not in (await viewer.get(url)).text
