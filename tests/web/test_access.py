"""Who may do what: every route, by every role, and by a token of another owner."""

import asyncio
import re
from pathlib import Path

import httpx2 as httpx
import pytest

from milepost import Milepost
from milepost.access import Access, Role
from milepost.errors import ConfigurationError
from tests.stores import Stores
from tests.web.conftest import Service, steps

VIEWER, OPERATOR, ADMIN = Role

# What each route of the API needs, and whether it is of all owners.
ROUTES: dict[tuple[str, str], tuple[Role, bool]] = {
    ("POST", "/jobs"): (OPERATOR, False),
    ("GET", "/jobs"): (VIEWER, False),
    ("POST", "/jobs/cancel"): (OPERATOR, False),
    ("POST", "/jobs/retry"): (OPERATOR, False),
    ("GET", "/jobs/{job_id}"): (VIEWER, False),
    ("PATCH", "/jobs/{job_id}"): (OPERATOR, False),
    ("GET", "/jobs/{job_id}/children"): (VIEWER, False),
    ("GET", "/jobs/{job_id}/progress"): (VIEWER, False),
    ("GET", "/jobs/{job_id}/logs"): (VIEWER, False),
    ("POST", "/jobs/{job_id}/cancel"): (OPERATOR, False),
    ("POST", "/jobs/{job_id}/retry"): (OPERATOR, False),
    ("GET", "/jobs/{job_id}/events"): (VIEWER, False),
    ("GET", "/events"): (VIEWER, False),
    ("GET", "/overview"): (VIEWER, False),
    ("GET", "/failures"): (VIEWER, False),
    ("GET", "/queues"): (VIEWER, True),
    ("GET", "/queues/history"): (VIEWER, True),
    ("POST", "/queues/{queue}/pause"): (OPERATOR, True),
    ("POST", "/queues/{queue}/resume"): (OPERATOR, True),
    ("PUT", "/queues/{queue}/limits"): (OPERATOR, True),
    ("GET", "/workers"): (VIEWER, True),
    ("GET", "/definitions"): (VIEWER, False),
    ("POST", "/definitions/{kind}/pause"): (OPERATOR, True),
    ("POST", "/definitions/{kind}/resume"): (OPERATOR, True),
    ("GET", "/connections"): (VIEWER, True),
    ("POST", "/connections"): (ADMIN, True),
    ("PUT", "/connections/{name}"): (ADMIN, True),
    ("DELETE", "/connections/{name}"): (ADMIN, True),
    ("GET", "/snapshots"): (VIEWER, True),
    ("GET", "/snapshots/{name}/tables"): (VIEWER, True),
    ("GET", "/snapshots/{name}/rows"): (VIEWER, True),
    ("POST", "/snapshots/{name}/sync"): (OPERATOR, True),
    ("GET", "/schedules"): (VIEWER, False),
    ("POST", "/schedules"): (OPERATOR, False),
    ("GET", "/schedules/{name}"): (VIEWER, False),
    ("POST", "/schedules/{name}/pause"): (OPERATOR, False),
    ("POST", "/schedules/{name}/resume"): (OPERATOR, False),
    ("POST", "/schedules/{name}/run-now"): (OPERATOR, False),
    ("DELETE", "/schedules/{name}"): (OPERATOR, False),
    ("GET", "/tokens"): (ADMIN, True),
    ("POST", "/tokens"): (ADMIN, True),
    ("DELETE", "/tokens/{token_id}"): (ADMIN, True),
}
PAGES: dict[tuple[str, str], tuple[Role, bool]] = {
    ("GET", "/"): (VIEWER, False),
    ("GET", "/jobs"): (VIEWER, False),
    ("POST", "/jobs/chosen"): (OPERATOR, False),
    ("POST", "/jobs/all"): (OPERATOR, False),
    ("GET", "/jobs/{job_id}"): (VIEWER, False),
    ("POST", "/jobs/{job_id}/cancel"): (OPERATOR, False),
    ("POST", "/jobs/{job_id}/retry"): (OPERATOR, False),
    ("GET", "/failures"): (VIEWER, False),
    ("GET", "/queues"): (VIEWER, True),
    ("POST", "/queues/{queue}/pause"): (OPERATOR, True),
    ("POST", "/queues/{queue}/resume"): (OPERATOR, True),
    ("GET", "/workers"): (VIEWER, True),
    ("GET", "/snapshots"): (VIEWER, True),
    ("GET", "/snapshots/{name}"): (VIEWER, True),
    ("POST", "/snapshots/{name}/sync"): (OPERATOR, True),
    ("POST", "/downloads"): (OPERATOR, True),
    ("GET", "/schedules"): (VIEWER, False),
    ("POST", "/schedules/{name}/pause"): (OPERATOR, False),
    ("POST", "/schedules/{name}/run-now"): (OPERATOR, False),
}
BODIES = {
    ("POST", "/jobs"): {"kind": "steps", "args": {}},
    ("POST", "/jobs/cancel"): {"meant": {}, "dry_run": True},
    ("POST", "/jobs/retry"): {"meant": {}, "dry_run": True},
    ("PATCH", "/jobs/{job_id}"): {"priority": 1},
    ("POST", "/jobs/{job_id}/cancel"): {"wait": 0},
    ("PUT", "/queues/{queue}/limits"): {},
    ("POST", "/snapshots/{name}/sync"): {},
    ("POST", "/schedules"): {"name": "x", "kind": "steps", "every": 3600},
    ("POST", "/tokens"): {"name": "x", "role": "viewer"},
    ("POST", "/connections"): {"name": "x", "source": {"kind": "http", "url": "https://x.example"}},
    ("PUT", "/connections/{name}"): {"source": {"kind": "http", "url": "https://x.example"}},
}
# They go on until the listener leaves: that they begin is tried where they are listened to.
STREAMS = {("GET", "/events"), ("GET", "/jobs/{job_id}/events")}


@pytest.fixture(params=["sqlite"])
def database_url(stores: Stores, tmp_path: Path) -> str:
    return stores.sqlite(tmp_path / "store.db")


def path_of(route: str, job_id: int) -> str:
    return route.format(job_id=job_id, name="none", table="none", token_id=999, queue="q", kind="k")


async def test_the_matrix_names_every_route(service: Service) -> None:
    document = (await service.http.get("/openapi.json")).json()
    routes = {
        (method.upper(), path.removeprefix("/api/v1"))
        for path, methods in document["paths"].items()
        for method in methods
        if path.startswith("/api/v1")
    }
    assert routes == ROUTES.keys()


async def test_nobody_gets_in_without_a_token_once_there_is_one(service: Service) -> None:
    job_id = await service.submit()
    await service.token(VIEWER)
    for given in ({}, {"token": "milepost_wrong"}):
        client = service.client(**given)
        for method, route in ROUTES:
            body = BODIES.get((method, route))
            reply = await client.request(method, path_of(route, job_id), json=body)
            assert reply.status_code == 401, (method, route)
            assert reply.headers["www-authenticate"] == "Bearer"
        for method, route in PAGES:
            url = f"http://localhost{path_of(route, job_id)}"
            reply = await client.request(method, url, headers={"accept": "text/html"})
            assert reply.status_code in ((303,) if method == "GET" else (401,)), (method, route)
    for health in ("healthz", "readyz", "login"):
        assert (await client.get(f"http://localhost/{health}")).status_code == 200


@pytest.mark.parametrize("role", list(Role))
async def test_each_role_may_do_what_it_may(service: Service, role: Role) -> None:
    job_id = await service.submit()
    client = service.client(await service.token(role))
    for (method, route), (needed, _) in ROUTES.items():
        if (method, route) in STREAMS:
            continue
        body = BODIES.get((method, route))
        reply = await client.request(method, path_of(route, job_id), json=body)
        assert (reply.status_code == 403) is not role.may(needed), (method, route, reply.text)
        assert reply.status_code < 500
    for (method, route), (needed, _) in PAGES.items():
        url = f"http://localhost{path_of(route, job_id)}"
        data = {"act": "cancel", "url": "x.csv"} if method == "POST" else None
        reply = await client.request(method, url, data=data)
        assert (reply.status_code == 403) is not role.may(needed), (method, route, reply.text)
        assert reply.status_code < 500


async def test_a_token_of_another_owner_finds_nothing_and_steers_nothing(service: Service) -> None:
    job_id = await service.submit(owner="ann")
    await service.add_schedule("none", owner="ann")
    client = service.client(await service.token(ADMIN, owner="bob"))
    for (method, route), (_, of_all) in ROUTES.items():
        body = BODIES.get((method, route))
        reply = await client.request(method, path_of(route, job_id), json=body) if (
            (method, route) != ("GET", "/events")
        ) else None  # fmt: skip
        if reply is None:
            continue
        if of_all:
            assert reply.status_code == 403, (method, route)
        elif "{" in route:
            assert reply.status_code == 404, (method, route)
        else:
            assert reply.status_code < 300, (method, route)
            assert "ann" not in reply.text
    for (method, route), (_, of_all) in PAGES.items():
        url = f"http://localhost{path_of(route, job_id)}"
        data = {"act": "cancel", "job": [job_id], "url": "x"} if method == "POST" else None
        reply = await client.request(method, url, data=data)
        expected = 403 if of_all else 404 if "{" in route else None
        assert expected in (None, reply.status_code), (method, route)
    shown = await service.milepost.handle(job_id).view()
    assert (shown.state, shown.owner, shown.cancel_requested_at) == ("available", "ann", None)
    schedule = await service.milepost.schedules.find("none")
    assert (schedule.owner, schedule.paused_at) == ("ann", None)

    mine = (await client.post("/jobs", json={"kind": "steps", "args": {}})).json()["id"]
    assert (await service.milepost.handle(mine).view()).owner == "bob"
    theirs = await client.post("/jobs", json={"kind": "steps", "args": {}, "owner": "ann"})
    assert theirs.status_code == 403
    listed = (await client.get("/jobs")).json()["items"]
    assert {each["owner"] for each in listed} == {"bob"}


async def test_a_revoked_token_opens_nothing(service: Service) -> None:
    token_id, token = await service.access.create("robot", ADMIN)
    client = service.client(token)
    assert (await client.get("/tokens")).json()[0]["name"] == "robot"
    await service.access.create("other", ADMIN)
    await service.access.revoke(token_id)
    assert (await client.get("/jobs")).status_code == 401
    with pytest.raises(ConfigurationError, match="no token"):
        await service.access.revoke(token_id)


async def test_a_token_is_kept_as_its_hash_alone(service: Service) -> None:
    token = await service.token(ADMIN)
    with service.milepost.database.read() as conn:
        kept = conn.exec_driver_sql("SELECT * FROM milepost_access_tokens").all()
    assert token not in str(kept)
    assert re.fullmatch(r"milepost_[\w-]{43}", token)
    assert isinstance(service.access, Access)


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://evil"}],
)
async def test_a_page_of_another_site_can_send_nothing(
    service: Service, headers: dict[str, str]
) -> None:
    reply = await service.client(**headers).post("/jobs", json={"kind": "steps", "args": {}})
    assert (reply.status_code, "another site" in reply.text) == (403, True)
    for path in ("login", "logout"):
        url = f"http://localhost/{path}"
        reply = await service.client(**headers).post(url, data={"token": "x"})
        assert (reply.status_code, "set-cookie" in reply.headers) == (403, False)
    assert (await service.client(Origin="http://localhost").get("/jobs")).status_code == 200


async def test_without_tokens_only_this_machines_name_is_answered(service: Service) -> None:
    reply = await service.http.get("/jobs", headers={"Host": "evil.example"})
    assert (reply.status_code, "localhost alone" in reply.text) == (403, True)


async def test_without_tokens_another_machine_is_refused_whatever_name_it_says(
    service: Service,
) -> None:
    there = httpx.ASGITransport(app=service.app, client=("203.0.113.9", 4711))
    async with httpx.AsyncClient(transport=there, base_url="http://localhost") as client:
        reply = await client.get("/api/v1/jobs")
    assert (reply.status_code, "this machine alone" in reply.text) == (403, True)


async def test_logging_in_sets_a_cookie_that_scripts_cannot_read(service: Service) -> None:
    token = await service.token(VIEWER)
    client = service.client()
    wrong = await client.post("http://localhost/login", data={"token": "nope"})
    assert (wrong.status_code, "opens nothing" in wrong.text) == (401, True)
    done = await client.post("http://localhost/login", data={"token": token})
    cookie = done.headers["set-cookie"]
    assert done.status_code == 303
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert (await client.get("http://localhost/jobs")).status_code == 200
    await client.post("http://localhost/logout")
    assert (await client.get("http://localhost/jobs")).status_code == 401


async def tried(service: Service, token: str = "nope") -> httpx.Response:
    return await service.client().post("http://localhost/login", data={"token": token})


async def test_too_many_wrong_tokens_are_told_to_wait_by_every_process(
    service: Service, milepost: Milepost
) -> None:
    other = Service(Milepost([steps], settings=milepost.settings, observers=()))
    good = await service.token(VIEWER)
    replies = await asyncio.gather(*(tried(each) for each in (service, other) for _ in range(5)))
    assert sorted(reply.status_code for reply in replies) == [401] * 5 + [429] * 5
    for each in (service, other):
        refused = await tried(each, good)
        assert (refused.status_code, "try again in" in refused.text) == (429, True)
        assert 0 < int(refused.headers["retry-after"]) <= 60
    await other.aclose()
    await other.milepost.aclose()


async def test_a_good_token_costs_no_attempt(service: Service) -> None:
    good = await service.token(VIEWER)
    for _ in range(7):
        assert (await tried(service, good)).status_code == 303


async def test_every_reply_forbids_what_a_page_of_ours_never_needs(service: Service) -> None:
    reply = await service.http.get("http://localhost/")
    policy = reply.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "<script>" not in reply.text
    assert " style=" not in reply.text
    assert " onclick=" not in reply.text
