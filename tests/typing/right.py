"""What both type checkers must accept."""

from milepost import JobContext, JobDefinition, SyncJobContext, child
from tests.typing.definitions import Args, At, Imported, Shops, counts, imports, milepost


async def submits() -> Imported:
    handle = await milepost.submit(imports, Args("acme"), priority=5, unique_key="a")
    number: int = await (await milepost.submit(counts, Args("acme"))).result()
    [many] = await milepost.submit_many(imports, [Args("acme")])
    result: Imported = await many.result()
    print(number, result)
    return await handle.result()


async def waits(ctx: JobContext[At], sync: SyncJobContext[At]) -> None:
    first = await milepost.submit(imports, Args("acme"))
    await milepost.submit(counts, Args("acme"), after=[first, 7], on_failure="go-on")
    await ctx.save(At(1), children=[child(imports, Args("acme"), priority=5)])
    await ctx.wait_for_children(on_failure="cancel")
    found: list[Imported] = [each.result async for each in ctx.children(imports)]
    numbers: list[int] = [each.result for each in sync.children(counts)]
    print(found, numbers)


async def handler(ctx: JobContext[At], args: Args) -> Imported:
    await ctx.save(At(2))
    return Imported(ctx.checkpoint.page)


def function(ctx: SyncJobContext[At], args: Args) -> int:
    ctx.save(At(2))
    return ctx.checkpoint.page


explicit = JobDefinition[Args, At, Imported](
    "explicit", args=Args, checkpoint=At, result=Imported, handler=handler
)
in_a_thread = JobDefinition[Args, At, int](
    "in-a-thread", args=Args, checkpoint=At, result=int, handler=function
)


async def called_directly(ctx: JobContext[At], sync: SyncJobContext[At]) -> None:
    imported: Imported = await imports(ctx, Args("acme"), shops=Shops())
    counted: int = counts(sync, Args("acme"))
    print(imported, counted)
