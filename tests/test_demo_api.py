from collections.abc import AsyncIterator

import aiohttp
import pytest

from milepost.connectors import Access, Secrets, open_connector, source_from
from milepost.demo_api import DemoApi, TokenBucket


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def test_every_run_serves_the_same(session: aiohttp.ClientSession) -> None:
    answers = []
    for _ in range(2):
        api = DemoApi(rate_limit=None, fail_every=None)
        url = await api.start()
        both = []
        for path in ("/customers?limit=500", "/orders?limit=500"):
            async with session.get(url + path) as response:
                both.append(await response.json())
        answers.append(both)
        await api.aclose()
        await api.aclose()

    assert answers[0] == answers[1]
    customers, orders = answers[0]
    assert len(customers) == len(orders["data"]) == 500
    assert customers[0]["email"] == "ada.adeyemi1@example.com"
    assert {type(order["note"]) for order in orders["data"]} == {str, type(None)}
    assert orders["total"] == 5000
    assert orders["data"][0]["created_at"] == "2024-01-01T08:00:00Z"


async def test_a_connector_reads_all_of_it_in_spite_of_limits_and_failures() -> None:
    api = DemoApi(token="open sesame", rate_limit=2_000, burst=5, fail_every=13)
    url = await api.start()
    source = source_from(
        url,
        tables=["customers", "orders"],
        headers={"Authorization": "Bearer $DEMO_TOKEN"},
        page_size=200,
    )

    async def sleep(seconds: float) -> None:
        pass

    secrets = Secrets({"DEMO_TOKEN": "open sesame"})
    connector = open_connector(source, Access(secrets=secrets, sleep=sleep))
    for table, size in (("customers", 2_000), ("orders", 5_000)):
        pages = [page async for page in connector.pages(table, after=None)]
        ids = [record["id"] for page in pages for record in page.records]
        assert ids == list(range(1, size + 1))
        assert {page.total for page in pages} == {size}
    await connector.aclose()
    await api.aclose()

    assert api.statuses[200] == 35
    assert api.statuses[503] > 1
    assert api.requests["/customers?limit=200&page=3"] >= 1


@pytest.mark.parametrize(
    ("path", "status"),
    [("/orders", 401), ("/orders?limit=0", 400), ("/orders?cursor=%21", 400), ("/x", 404)],
)
async def test_bad_requests_are_refused(
    session: aiohttp.ClientSession, path: str, status: int
) -> None:
    api = DemoApi(token="t", rate_limit=None)
    url = await api.start()
    headers = {} if status == 401 else {"Authorization": "Bearer t"}
    async with session.get(url + path, headers=headers) as response:
        assert response.status == status
    await api.aclose()


async def test_the_rate_limit_says_when_to_come_back(session: aiohttp.ClientSession) -> None:
    api = DemoApi(rate_limit=0.1, burst=1)
    url = await api.start()
    async with session.get(url + "/orders") as response:
        assert response.status == 200
    async with session.get(url + "/orders") as response:
        assert response.status == 429
        assert 9 <= int(response.headers["Retry-After"]) <= 10
    await api.aclose()


def test_a_bucket_lets_its_burst_pass() -> None:
    bucket = TokenBucket(0.001, 3)
    assert [bucket.take() for _ in range(3)] == [0, 0, 0]
    assert bucket.take() > 100
