"""Flows over HTTP and on the dashboard."""

from milepost.access import Role
from tests.web.conftest import Service


async def test_a_flow_is_submitted_and_shown(service: Service) -> None:
    children = [await service.submit(args={"steps": n}) for n in range(3)]
    middle = await service.submit(after=children, on_failure="cancel")
    top = await service.submit(after=[middle])

    shown = (await service.http.get(f"/jobs/{middle}")).json()
    assert (shown["state"], shown["run_at"]) == ("scheduled", None)
    assert shown["children"] == {"available": 3}
    assert [(each["id"], each["kind"]) for each in shown["parents"]] == [(top, "steps")]
    page = (await service.http.get(f"/jobs/{middle}/children?limit=2")).json()
    assert ([each["id"] for each in page["items"]], page["next"]) == (children[:2], children[1])
    page = (await service.http.get(f"/jobs/{middle}/children?after={page['next']}")).json()
    assert ([each["id"] for each in page["items"]], page["next"]) == (children[2:], None)

    looked = service.client()
    looked.base_url = "http://localhost/"
    html = (await looked.get(f"/jobs/{top}")).text
    assert "when what it waits for has ended" in html
    assert f'/jobs/{children[0]}">{children[0]}</a> steps' in html

    async with service.milepost.worker():
        assert await service.ended(top) == "completed"


async def test_nobody_waits_for_what_is_not_there_or_is_anothers(service: Service) -> None:
    reply = await service.http.post(
        "/jobs", json={"kind": "steps", "args": {}, "after": [999], "on_failure": "go-on"}
    )
    assert (reply.status_code, "no job 999" in reply.text) == (404, True)
    anns, bobs = await service.submit(owner="ann"), await service.submit(owner="bob")
    ann = service.client(await service.token(Role.OPERATOR, owner="ann"))
    body = {"kind": "steps", "args": {}, "after": [bobs]}
    assert (await ann.post("/jobs", json=body)).status_code == 404
    assert (await ann.post("/jobs", json=body | {"after": [anns]})).status_code == 201
    body["on_failure"] = "ignore"
    assert (await ann.post("/jobs", json=body)).status_code == 422
