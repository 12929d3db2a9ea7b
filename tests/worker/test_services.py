"""Services: found by their type, made for the attempt, cleaned up after it."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest
import svcs

from milepost import JobContext, JobFailed, JobState, SyncJobContext, job
from tests.worker.apps import OpenApp
from tests.worker.waiting import SOON


@dataclass
class Shop:
    name: str
    did: list[str] = field(default_factory=list)


@job("sell-in-coroutine", max_attempts=1)
async def sell_in_coroutine(ctx: JobContext[None], args: str, *, shop: Shop) -> str:
    shop.did.append(f"sell {args}")
    if args == "nothing":
        raise OSError("nothing to sell")
    return shop.name


@job("sell-in-thread", max_attempts=1)
def sell_in_thread(ctx: SyncJobContext[None], args: str, *, shop: Shop) -> str:
    shop.did.append(f"sell {args}")
    if args == "nothing":
        raise OSError("nothing to sell")
    return shop.name


BOTH = pytest.mark.parametrize(
    "definition", [sell_in_coroutine, sell_in_thread], ids=["coroutine", "thread"]
)


def a_shop(did: list[str]) -> svcs.Registry:
    services = svcs.Registry()

    def open_shop() -> Iterator[Shop]:
        did.append("open")
        yield Shop("corner", did)
        did.append("close")

    services.register_factory(Shop, open_shop)
    return services


@BOTH
async def test_a_service_is_made_for_each_attempt_and_cleaned_up_after_it(
    open_app: OpenApp, definition
) -> None:
    did: list[str] = []
    app = await open_app(definition, services=a_shop(did))
    async with app.worker():
        for _ in range(2):
            assert await (await app.submit(definition, "tea")).result(SOON) == "corner"
    assert did == ["open", "sell tea", "close"] * 2


@BOTH
async def test_a_service_is_cleaned_up_after_a_failed_attempt_too(
    open_app: OpenApp, definition
) -> None:
    did: list[str] = []
    app = await open_app(definition, services=a_shop(did))
    async with app.worker():
        view = await (await app.submit(definition, "nothing")).wait(SOON)
    assert view.state is JobState.FAILED
    assert did == ["open", "sell nothing", "close"]


@BOTH
async def test_a_missing_service_fails_the_job_at_once_and_says_which(
    open_app: OpenApp, definition
) -> None:
    app = await open_app(definition)
    async with app.worker():
        handle = await app.submit(definition, "tea", max_attempts=3)
        said = f"the handler of {definition.kind} asks for shop: Shop, and no factory"
        with pytest.raises(JobFailed, match=said):
            await handle.result(SOON)
        assert (await handle.view()).attempt == 1


async def test_a_coroutine_gets_services_whose_factories_are_async(open_app: OpenApp) -> None:
    did: list[str] = []
    services = svcs.Registry()

    async def open_shop() -> AsyncIterator[Shop]:
        did.append("open")
        yield Shop("market", did)
        did.append("close")

    services.register_factory(Shop, open_shop)
    app = await open_app(sell_in_coroutine, services=services)
    async with app.worker():
        assert await (await app.submit(sell_in_coroutine, "tea")).result(SOON) == "market"
    assert did == ["open", "sell tea", "close"]


@BOTH
async def test_a_factory_that_breaks_fails_the_attempt_with_its_error(
    open_app: OpenApp, definition
) -> None:
    services = svcs.Registry()

    def open_shop() -> Shop:
        raise OSError("no key")

    services.register_factory(Shop, open_shop)
    app = await open_app(definition, services=services)
    async with app.worker():
        with pytest.raises(JobFailed, match="OSError: no key"):
            await (await app.submit(definition, "tea")).result(SOON)


async def test_parameters_with_defaults_are_not_services(open_app: OpenApp) -> None:
    @job("plain")
    async def plain(ctx: JobContext[None], args: str, *, shout: bool = True) -> str:
        return args.upper() if shout else args

    app = await open_app(plain)
    async with app.worker():
        assert await (await app.submit(plain, "tea")).result(SOON) == "TEA"


async def test_a_handler_is_called_directly_with_its_services() -> None:
    called = sell_in_coroutine(None, "tea", shop=Shop("corner"))  # type: ignore[arg-type]
    assert await called == "corner"
    assert sell_in_thread(None, "tea", shop=Shop("corner")) == "corner"  # type: ignore[arg-type]
