"""A job that exists if and only if your own transaction commits.

python examples/own_transaction.py
"""

import asyncio
from dataclasses import dataclass

from sqlalchemy import text

from milepost import Milepost, Settings, SyncJobContext, job


@dataclass(frozen=True)
class SendInvoice:
    order: int


@job("send-invoice")
def send_invoice(ctx: SyncJobContext[None], args: SendInvoice) -> str:
    """A plain function runs in a thread."""
    ctx.log.info("sending the invoice of order %d", args.order)
    return f"invoice {args.order}"


async def main() -> None:
    settings = Settings(database_url="sqlite:///own-transaction.db")
    async with Milepost([send_invoice], settings=settings) as milepost:
        with milepost.database.begin() as conn:
            conn.execute(text("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY)"))
            # The order and its job: both, or neither.
            order = conn.execute(
                text("INSERT INTO orders DEFAULT VALUES RETURNING id")
            ).scalar_one()
            handle = milepost.submit_in(conn, send_invoice, SendInvoice(order))

        async with milepost.worker():
            print(await handle.result())


if __name__ == "__main__":
    asyncio.run(main())
