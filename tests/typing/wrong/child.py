"""Wrong children, and what a child does not take."""

from milepost import JobContext, child
from tests.typing.definitions import Args, At, Other, imports, milepost


async def handler(ctx: JobContext[At], args: Args) -> None:
    await ctx.save(At(1), children=[child(imports, Other(1))])  # error
    await ctx.save(At(1), children=[child(imports, args, unique_key="a")])  # error
    await ctx.save(At(1), children=[imports])  # error
    await ctx.wait_for_children(on_failure="ignore")  # error
    async for each in ctx.children(imports):
        number: int = each.result  # error
        print(number)
    await milepost.submit(imports, args, after=["1"])  # error
