"""Who receives messages, and a store whose jobs fail."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import Connection

from milepost import Milepost, Settings
from milepost.connections import make_key
from milepost.jobs.leases import ClaimedJob, Settlement
from milepost.jobs.outcomes import Completed, Failed, Outcome
from milepost.jobs.requests import JobRequest
from milepost.notifiers import Address, Notifier, make_secret
from milepost.settings import NotifySettings, SecretKeySettings
from milepost.store import jobs
from tests.stores import Stores

AT_ONCE = NotifySettings(
    gather_for=timedelta(0), rest_for=timedelta(0), first_wait=timedelta(milliseconds=1)
)


@dataclass
class Receiver:
    """A webhook's end. It answers `status`, and keeps all that was posted to it."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append(({key.lower(): value for key, value in request.headers.items()}, body))
        if self.status < 300:
            self.taken.append({"id": request.headers.get("webhook-id"), **await request.json()})
        return web.Response(status=self.status, headers=self.headers)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    receiver.url = f"http://{host}:{port}/hook"
    yield receiver
    await runner.cleanup()


class Line:
    """A store whose jobs end as they are told, and one notifier of it."""

    def __init__(self, milepost: Milepost, settings: NotifySettings) -> None:
        self.milepost = milepost
        self.database = milepost.database
        self.clock = milepost.database.clock
        self.notifier = self.another(settings)

    def another(self, settings: NotifySettings = AT_ONCE) -> Notifier:
        return Notifier(self.database, self.milepost.keyring, settings=settings)

    async def tell(self, receiver: Receiver, name: str = "ops", **only: Any) -> str:
        """Make a route to a receiver; returns what signs its messages."""
        secret = make_secret()
        await self.milepost.routes.add(name, Address(receiver.url, secret), **only)
        return secret

    def end(self, outcomes: Sequence[Outcome], **options: Any) -> list[int]:
        with self.database.begin() as conn:
            return self.end_in(conn, outcomes, **options)

    def end_in(self, conn: Connection, outcomes: Sequence[Outcome], **options: Any) -> list[int]:
        """Run a new job to each of these ends, in the caller's transaction; returns their ids."""
        fields = {"kind": "k", "queue": "q", "priority": 0, "max_attempts": 1, **options}
        jobs.submit(conn, self.clock, [JobRequest(args="{}", **fields) for _ in outcomes])
        claimed = jobs.claim(
            conn, self.clock, queue=fields["queue"], kinds=[fields["kind"]], limit=len(outcomes),
            lease_for=timedelta(minutes=1), worker_id="w",
        )  # fmt: skip
        settlements = [Settlement(job, end) for job, end in zip(claimed, outcomes, strict=True)]
        jobs.settle(conn, self.clock, settlements)
        return [job.lease.job_id for job in claimed]

    def again(self, job_id: int, outcome: Outcome) -> None:
        """Retry a job, and let it end so."""
        with self.database.begin() as conn:
            self.run(conn, outcome, queue=jobs.retry(conn, self.clock, job_id))

    def run(self, conn: Connection, outcome: Outcome, *, queue: str = "q") -> None:
        """Run the one job that is available in a queue to this end."""
        settlements = [Settlement(job, outcome) for job in self.claim(conn, queue)]
        jobs.settle(conn, self.clock, settlements)

    def claim(self, conn: Connection, queue: str = "q") -> list[ClaimedJob]:
        """Claim the one job that is available in a queue."""
        claimed = jobs.claim(
            conn, self.clock, queue=queue, kinds=["k"], limit=2,
            lease_for=timedelta(minutes=1), worker_id="w",
        )  # fmt: skip
        assert len(claimed) == 1
        return claimed


FAILED = Failed("ShopClosed: come back tomorrow", recoverable=False)
COMPLETED = Completed("null")


@pytest.fixture(params=["sqlite", "postgres"])
async def line(
    request: pytest.FixtureRequest, stores: Stores, tmp_path: Path
) -> AsyncIterator[Line]:
    url = (
        stores.sqlite(tmp_path / "store.db")
        if request.param == "sqlite"
        else str(request.getfixturevalue("postgres_store_url"))
    )
    settings = Settings(database_url=url, secret_key=SecretKeySettings(keys=make_key()))
    async with Milepost(settings=settings, observers=()) as milepost:
        yield Line(milepost, AT_ONCE)
