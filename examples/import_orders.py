"""A job of your own: typed, resumable at every page, in one SQLite file.

    python examples/import_orders.py

It takes four seconds. Kill it half way and run it again: it goes on at the next page. Run it once
more, and a new job imports all of it again.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

import svcs
from sqlalchemy import Connection, text

from milepost import JobContext, Milepost, Progress, Settings, job


@dataclass(frozen=True)
class ImportOrders:
    """The args: what to do. Stored as JSON, checked at submit and before the handler."""

    shop: str


@dataclass(frozen=True)
class Position:
    """The checkpoint: where to go on. A job begins with Position()."""

    page: int = 0


@dataclass(frozen=True)
class Imported:
    """The result."""

    pages: int


class ShopClient:
    """Stands for the client of an external API."""

    pages = 20
    wait = float(os.environ.get("SECONDS_A_PAGE", "0.2"))

    async def orders(self, shop: str, *, after: int) -> AsyncIterator[tuple[int, list[str]]]:
        for page in range(after + 1, self.pages + 1):
            await asyncio.sleep(self.wait)
            yield page, [f"{shop}-{page}-{row}" for row in range(50)]


def insert_orders(conn: Connection, orders: list[str]) -> None:
    """A plain function that takes the connection first: it runs in the checkpoint's transaction."""
    conn.execute(
        # No page is written twice by one job; a new job imports the same orders again.
        text("INSERT INTO orders VALUES (:id) ON CONFLICT DO NOTHING"),
        [{"id": order} for order in orders],
    )


@job("import-orders", max_attempts=3)
async def import_orders(
    ctx: JobContext[Position], args: ImportOrders, *, shops: ShopClient
) -> Imported:
    async for number, orders in shops.orders(args.shop, after=ctx.checkpoint.page):
        await ctx.save(
            Position(number),
            insert_orders,
            orders,
            progress=Progress(number, total=shops.pages, message="orders"),
        )
    return Imported(ctx.checkpoint.page)


def application() -> Milepost:
    services = svcs.Registry()
    services.register_factory(ShopClient, ShopClient)
    settings = Settings(database_url="sqlite:///import-orders.db")
    return Milepost([import_orders], settings=settings, services=services)


async def main() -> None:
    async with application() as milepost:
        with milepost.database.begin() as conn:
            conn.execute(text("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY)"))

        # While a job with this key is unfinished, submitting again returns that job.
        handle = await milepost.submit(
            import_orders, ImportOrders("acme"), unique_key="orders:acme"
        )
        async with milepost.worker():
            async for view in handle.watch():
                if view.progress:
                    print(f"{view.progress.percentage:.0f} % of the {view.progress.message}")
        print(await handle.result())


if __name__ == "__main__":
    asyncio.run(main())
