"""A report that waits for the orders of all shops, and a letter that waits for the report.

python examples/flows.py
"""

import asyncio
from dataclasses import dataclass

from milepost import JobContext, JobFailed, Milepost, Settings, Unrecoverable, child, job


@dataclass(frozen=True)
class CountOrders:
    shop: str


@job("count-orders")
async def count_orders(ctx: JobContext[None], args: CountOrders) -> int:
    if args.shop == "closed":
        raise Unrecoverable("this shop has closed")
    return len(args.shop)


@dataclass(frozen=True)
class Split:
    """A checkpoint: whether the children were submitted."""

    done: bool = False


@job("report")
async def report(ctx: JobContext[Split], args: list[str]) -> str:
    """One job for each shop, as many as it finds; then what they have counted."""
    if not ctx.checkpoint.done:
        shops = [child(count_orders, CountOrders(shop)) for shop in args]
        await ctx.save(Split(done=True), children=shops)
    # Lets go of its worker, and comes here again when all of them have ended.
    await ctx.wait_for_children()
    return ", ".join(
        [f"{each.args.shop}: {each.result}" async for each in ctx.children(count_orders)]
    )


@job("send")
async def send(ctx: JobContext[None], args: str) -> str:
    [written] = [each.result async for each in ctx.children(report)]
    return f"to {args}: {written}"


async def main() -> None:
    settings = Settings(database_url="sqlite:///flows.db")
    async with Milepost([count_orders, report, send], settings=settings) as milepost:
        # Both jobs, or none.
        with milepost.database.begin() as conn:
            written = milepost.submit_in(conn, report, ["acme", "ajax", "bolt"])
            sent = milepost.submit_in(conn, send, "ann", after=[written])
        broken = await milepost.submit(report, ["acme", "closed"])

        async with milepost.worker():
            print(await sent.result())
            try:
                await broken.result()
            except JobFailed as failed:
                print(failed)


if __name__ == "__main__":
    asyncio.run(main())
