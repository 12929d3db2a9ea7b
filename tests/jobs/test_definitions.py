"""What a definition takes from its handler, and each way in which one cannot work."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from milepost.errors import DefinitionInvalid, UnknownKind
from milepost.jobs.backoff import Backoff
from milepost.jobs.context import JobContext, SyncJobContext
from milepost.jobs.definition import AsyncJob, JobDefinition, SyncJob, job
from milepost.jobs.registry import Registry
from milepost.jobs.retention import Keep, Retention

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass(frozen=True)
class Args:
    shop: str


@dataclass(frozen=True)
class Position:
    page: int = 0


class Mailer:
    pass


@job("import-orders", queue="sync", priority=5, max_attempts=7, time_limit=timedelta(minutes=1))
async def import_orders(
    ctx: JobContext[Position], args: Args, *, mailer: Mailer, dry: bool = False
) -> int:
    """Import a shop's orders."""
    return len(args.shop) + dry


@job("count-orders")
def count_orders(ctx: SyncJobContext[Position], args: Args) -> int:
    return len(args.shop)


def test_a_definition_takes_its_types_from_the_annotations() -> None:
    assert isinstance(import_orders, AsyncJob)
    assert import_orders.kind == "import-orders"
    assert import_orders.args.declared is Args
    assert import_orders.checkpoint.declared is Position
    assert import_orders.result.declared is int
    assert import_orders.is_async
    assert import_orders.__doc__ == "Import a shop's orders."


def test_a_def_handler_makes_a_sync_job() -> None:
    assert isinstance(count_orders, SyncJob)
    assert not count_orders.is_async


def test_an_object_that_is_called_makes_a_job_as_a_function_does() -> None:
    @dataclass
    class Import:
        shop: str

        async def __call__(self, ctx: JobContext[Position], args: Args, *, mailer: Mailer) -> int:
            return 0

    @dataclass
    class Count:
        shop: str

        def __call__(self, ctx: SyncJobContext[Position], args: Args) -> int:
            return 0

    imports, counts = job("import")(Import("one")), job("count")(Count("one"))
    assert isinstance(imports, AsyncJob)
    assert (imports.args.declared, imports.result.declared) == (Args, int)
    assert imports.services == {"mailer": Mailer}
    assert isinstance(counts, SyncJob)
    assert not counts.is_async


def test_options_that_are_not_given_have_defaults() -> None:
    assert (count_orders.queue, count_orders.priority, count_orders.max_attempts) == (
        "default",
        0,
        3,
    )
    assert count_orders.backoff == Backoff()
    assert count_orders.time_limit is None
    assert import_orders.queue == "sync"
    assert import_orders.time_limit == timedelta(minutes=1)


def test_keyword_only_parameters_without_a_default_are_services() -> None:
    assert import_orders.services == {"mailer": Mailer}
    assert count_orders.services == {}


async def test_a_definition_is_called_as_its_handler() -> None:
    context: Any = None
    assert await import_orders(context, Args("acme"), mailer=Mailer()) == 4
    assert count_orders(context, Args("acme")) == 4


@pytest.mark.parametrize("kind", ["a", "download-records", "v1.2_b", "0", "a" * 100])
def test_a_kind_is_a_short_plain_name(kind: str) -> None:
    assert defined(count_orders.handler, kind=kind).kind == kind


@pytest.mark.parametrize(
    "kind", ["", "Import", "import orders", "-a", "a" * 101, "a\n", "ä", "a/b"]
)
def test_any_other_kind_is_refused(kind: str) -> None:
    with pytest.raises(DefinitionInvalid, match="use lower-case letters"):
        defined(count_orders.handler, kind=kind)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"max_attempts": 0}, "max_attempts must be at least 1"),
        ({"concurrency": 0}, "concurrency must be at least 1, not 0"),
        (
            {"retention": Retention(failed=Keep(count=-1))},
            "a count of failed jobs to keep must be at least 0, not -1",
        ),
        (
            {"retention": Retention(completed=Keep(timedelta(-1)))},
            "completed jobs are kept for at least 0 s",
        ),
        ({"time_limit": timedelta(0)}, "time_limit must be positive"),
        ({"time_limit": timedelta(seconds=-1)}, "time_limit must be positive"),
        ({"time_limit": timedelta.max}, "time_limit must be positive and at most 36500 days"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(DefinitionInvalid, match=why):
        job("work", **options)(count_orders.handler)


def no_args(ctx: SyncJobContext[Position]) -> None: ...
def three(ctx: SyncJobContext[Position], args: Args, more: int) -> None: ...
def bare(ctx, args) -> None: ...
def bare_args(ctx: SyncJobContext[Position], args) -> None: ...
def other_context(ctx: JobContext[Position], args: Args) -> None: ...
async def sync_context(ctx: SyncJobContext[Position], args: Args) -> None: ...
def no_checkpoint(ctx: SyncJobContext, args: Args) -> None: ...
def no_return(ctx: SyncJobContext[Position], args: Args): ...
def bare_service(ctx: SyncJobContext[Position], args: Args, *, mailer) -> None: ...
def hidden(ctx: SyncJobContext[Position], args: "Decimal") -> None: ...
def begins_with_args(ctx: SyncJobContext[Args], args: Args) -> None: ...
def not_json(ctx: SyncJobContext[Position], args: Mailer) -> None: ...
def result_not_json(ctx: SyncJobContext[Position], args: Args) -> Mailer: ...


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (no_args, "the handler takes"),
        (three, "the handler takes"),
        (bare, "the handler takes"),
        (bare_args, "the handler takes"),
        (other_context, "ctx must be annotated SyncJobContext"),
        (sync_context, "ctx must be annotated JobContext"),
        (no_checkpoint, "ctx must be annotated"),
        (no_return, "return annotation"),
        (bare_service, "service 'mailer' needs a type"),
        (hidden, "'Decimal' is not defined"),
        (begins_with_args, "every field of Args needs a default"),
        (not_json, "args of work cannot be Mailer"),
        (result_not_json, "result of work cannot be Mailer"),
    ],
)
def test_a_handler_that_cannot_work_is_refused_where_it_is_defined(
    handler: Callable[..., Any], why: str
) -> None:
    with pytest.raises(DefinitionInvalid, match=why):
        defined(handler)


def test_a_registry_finds_definitions_by_kind() -> None:
    registry = Registry([import_orders, count_orders])
    assert registry["count-orders"] is count_orders
    assert "count-orders" in registry
    assert "count" not in registry
    assert set(registry) == {import_orders, count_orders}
    assert registry.kinds == ("count-orders", "import-orders")
    assert registry.queues == ("default", "sync")


def test_an_unknown_kind_is_told_with_the_known_ones() -> None:
    with pytest.raises(UnknownKind, match="count-orders, import-orders") as caught:
        Registry([import_orders, count_orders])["nothing"]
    assert caught.value.kind == "nothing"


def test_two_definitions_of_one_kind_are_refused() -> None:
    with pytest.raises(DefinitionInvalid, match="two definitions have the kind 'count-orders'"):
        Registry([count_orders, defined(count_orders.handler, kind="count-orders")])


def test_the_same_definition_twice_is_one() -> None:
    assert list(Registry([count_orders, count_orders])) == [count_orders]


def defined(handler: Callable[..., Any], *, kind: str = "work") -> JobDefinition[Any, Any, Any]:
    return job(kind)(handler)


def test_the_pool_follows_from_the_handler_unless_it_is_named() -> None:
    async def coroutine(ctx: JobContext[None], args: int) -> None: ...

    def function(ctx: SyncJobContext[None], args: int) -> None: ...

    assert job("a")(coroutine).pool == "coroutine"
    assert job("b")(function).pool == "thread"
    assert job("c", pool="process")(coroutine).pool == "process"
    assert job("d", pool="process")(function).pool == "process"


@pytest.mark.parametrize(
    ("is_async", "options", "says"),
    [
        (False, {"pool": "coroutine"}, "an ordinary def; it takes thread or process"),
        (True, {"pool": "thread"}, "an async def; it takes coroutine or process"),
        (False, {"pool": "processes"}, "pool 'processes' does not run this handler"),
        (True, {"cpu_limit": timedelta(1)}, "cpu_limit needs pool='process' or a `def` handler"),
        (False, {"memory_limit": 10**9}, "memory_limit needs pool='process'"),
        (False, {"memory_limit": 10**6, "pool": "process"}, "at least 128,000,000 bytes"),
        (False, {"silence_limit": timedelta(0)}, "silence_limit must be positive"),
        (False, {"cpu_limit": timedelta(-1)}, "cpu_limit must be positive"),
    ],
)
def test_an_option_without_effect_is_refused(
    is_async: bool, options: dict[str, Any], says: str
) -> None:
    async def coroutine(ctx: JobContext[None], args: int) -> None: ...

    def function(ctx: SyncJobContext[None], args: int) -> None: ...

    with pytest.raises(DefinitionInvalid, match=re.escape(says)):
        job("a", **options)(coroutine if is_async else function)
