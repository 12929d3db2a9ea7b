"""Where messages go, and what is said of an address that is none."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from milepost import JobContext, Milepost, Settings, Unrecoverable, job
from milepost.connections import make_key
from milepost.errors import ConfigurationError, SecretKeyUnfit
from milepost.notifiers import Address, make_secret
from milepost.settings import SecretKeySettings
from milepost.store import routes
from tests.notifiers.conftest import AT_ONCE, FAILED, Line, Receiver
from tests.stores import Stores


@job("breaks")
async def breaks(ctx: JobContext[None], args: None) -> None:
    raise Unrecoverable("no such shop")


async def test_a_worker_tells_what_happened_to_its_jobs(
    stores: Stores, receiver: Receiver, tmp_path: Path
) -> None:
    settings = Settings(
        database_url=stores.sqlite(tmp_path / "store.db"),
        secret_key=SecretKeySettings(keys=make_key()),
        notify=replace(AT_ONCE, public_url="https://jobs.example"),
    )
    async with Milepost([breaks], settings=settings, observers=()) as milepost:
        await milepost.routes.add("ops", Address(receiver.url, make_secret()))
        async with milepost.worker():
            await milepost.submit(breaks, None)
            deadline = time.monotonic() + 20
            while not receiver.taken and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
    assert receiver.taken[0]["data"]["title"] == "Milepost: 1 job failed (breaks)"


async def test_what_apprise_knows_is_told_by_it(line: Line, receiver: Receiver) -> None:
    pytest.importorskip("apprise")
    url = receiver.url.replace("http://", "json://")
    await line.milepost.routes.add("chat", Address(url))
    receiver.status = 500
    line.end([FAILED])
    await line.notifier.tick()
    [route] = await line.milepost.routes.listed()
    assert (route.shown, route.waiting, route.tries) == ("json://…", 1, 1)
    assert "500" in (route.error or "")
    receiver.status = 200
    await asyncio.sleep(0.002)
    await line.notifier.tick()
    assert receiver.taken[0]["title"] == "Milepost: 1 job failed (k)"
    assert "ShopClosed: come back tomorrow (job 1)" in receiver.taken[0]["message"]


async def test_addresses_are_encrypted_and_a_new_key_takes_them_over(line: Line) -> None:
    token = "T0KEN/very/secret"
    await line.milepost.routes.add("chat", Address(f"https://me:pass@hooks.example/{token}"))
    [stored] = await line.database.query(routes.listed)
    assert token not in stored.address
    [shown] = await line.milepost.routes.listed()
    assert shown.shown == "https://hooks.example/…"
    assert (await line.milepost.connections.rotate()).routes == 1
    assert (await line.milepost.routes.address("chat")).url.endswith(token)

    other = Settings(
        database_url=line.milepost.settings.database_url,
        secret_key=SecretKeySettings(keys=make_key()),
    )
    async with Milepost(settings=other, observers=()) as stranger:
        with pytest.raises(SecretKeyUnfit, match="the address of route 'chat' cannot be decrypted"):
            await stranger.routes.address("chat")
        assert [each.shown for each in await stranger.routes.listed()] == ["(no key reads it)"]
        assert (await stranger.connections.rotate(forget=True)).routes == 1
    assert await line.milepost.routes.listed() == []


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (Address("ops@example.com"), "'ops@example.com' is no address: take https://… for a"),
        (Address("https:///x"), "the webhook's address names no host: https://HOST/…"),
        (Address("nowhere://x"), "Apprise knows no such address as nowhere://…"),
        (Address("https://x", "hush"), "a webhook's secret is whsec_ and 24 to 64 octets"),
        (Address("https://x", "whsec_aGk="), "a webhook's secret is whsec_ and 24 to 64 octets"),
        (Address("mailto://a:b@c.de", make_secret()), "only what goes to a webhook"),
    ],
)
async def test_an_address_that_is_none_is_refused(
    stores: Stores, tmp_path: Path, address: Address, said: str
) -> None:
    settings = Settings(
        database_url=stores.sqlite(tmp_path / "store.db"),
        secret_key=SecretKeySettings(keys=make_key()),
    )
    async with Milepost(settings=settings, observers=()) as milepost:
        with pytest.raises(ConfigurationError) as refused:
            await milepost.routes.add("ops", address)
        assert str(refused.value).startswith(said)
        assert await milepost.routes.listed() == []


async def test_a_service_that_breaks_is_put_off_and_its_error_shows_no_address(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    await line.milepost.routes.add("chat", Address("https://hooks.example/T0KEN"))

    async def breaks_down(address: Address, message: object) -> None:
        raise TypeError(f"{address.url} {message}")

    monkeypatch.setattr("milepost.notifiers.notifier.send", breaks_down)
    line.end([FAILED])
    await line.notifier.tick()
    [route] = await line.milepost.routes.listed()
    assert (route.tries, route.waiting) == (1, 1)
    assert route.error == "sending it failed with TypeError"
