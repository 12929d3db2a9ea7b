"""The limit: fetch, decode, the fastest write that we know; no checkpoint, no schema, no checks.

Each page is a commit. The table is made by hand; a first load is COPY, which could not be repeated.
"""

import asyncio
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec

FIELDS = {
    "id": "bigint", "name": "text", "email": "text", "amount": "double precision",
    "currency": "text", "quantity": "bigint", "paid": "boolean", "created_at": "text",
    "updated_at": "text", "note": "text", "address": "jsonb", "tags": "jsonb",
}  # fmt: skip
SETS = ", ".join(f"{name} = excluded.{name}" for name in FIELDS if name != "id")
Rows = list[tuple[Any, ...]]


async def pages(url: str) -> AsyncIterator[Rows]:
    """The next page is asked for while this one is written."""
    decode, encode = msgspec.json.decode, msgspec.json.encode
    async with aiohttp.ClientSession() as session:

        async def ask(cursor: str | None) -> Any:
            params = {} if cursor is None else {"cursor": cursor}
            async with session.get(url, params=params) as reply:
                return decode(await reply.read())

        coming = asyncio.create_task(ask(None))
        while True:
            page = await coming
            if page["next_cursor"] is not None:
                coming = asyncio.create_task(ask(page["next_cursor"]))
            yield [
                (*list(record.values())[:10], encode(record["address"]).decode(),
                 encode(record["tags"]).decode())
                for record in page["data"]
            ]  # fmt: skip
            if page["next_cursor"] is None:
                return


async def into_sqlite(url: str, into: str) -> int:
    conn = sqlite3.connect(into, isolation_level=None, check_same_thread=False)
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = FULL")
    columns = ", ".join(f"{name} {'PRIMARY KEY' if name == 'id' else ''}" for name in FIELDS)
    conn.execute(f"CREATE TABLE IF NOT EXISTS records ({columns})")
    places = ", ".join("?" for _ in FIELDS)
    insert = f"INSERT INTO records VALUES ({places}) ON CONFLICT (id) DO UPDATE SET {SETS}"

    def write(rows: Rows) -> None:
        conn.execute("BEGIN IMMEDIATE")
        conn.executemany(insert, rows)
        conn.execute("COMMIT")

    return await _each(url, lambda rows: asyncio.to_thread(write, rows))


async def into_duckdb(url: str, into: str) -> int:
    import duckdb
    import pyarrow as pa

    conn = duckdb.connect(into)
    columns = ", ".join(f"{name} {type_}" for name, type_ in FIELDS.items()).replace(
        "jsonb", "json"
    )
    conn.execute(f"CREATE TABLE IF NOT EXISTS records ({columns})")
    found = conn.execute("SELECT 1 FROM records LIMIT 1").fetchall()

    def write(rows: Rows) -> None:
        arrays = [pa.array(cells) for cells in zip(*rows, strict=True)]
        conn.register("page", pa.table(arrays, names=list(FIELDS)))
        conn.execute("BEGIN")
        if found:
            conn.execute("DELETE FROM records USING page WHERE records.id = page.id")
        conn.execute("INSERT INTO records SELECT * FROM page")
        conn.execute("COMMIT")

    count = await _each(url, lambda rows: asyncio.to_thread(write, rows))
    conn.close()
    return count


async def into_postgres(url: str, into: str) -> int:
    import asyncpg

    conn = await asyncpg.connect(into.replace("+psycopg", ""))
    columns = ", ".join(
        f"{name} {type_} {'PRIMARY KEY' if name == 'id' else ''}" for name, type_ in FIELDS.items()
    )
    await conn.execute(f"CREATE TABLE IF NOT EXISTS records ({columns})")
    first = not await conn.fetchval("SELECT EXISTS (SELECT FROM records)")
    arrays = ", ".join(f"${n}::{type_}[]" for n, type_ in enumerate(FIELDS.values(), start=1))
    upsert = (
        f"INSERT INTO records SELECT * FROM unnest({arrays}) ON CONFLICT (id) DO UPDATE SET {SETS}"
    )

    async def write(rows: Rows) -> None:
        if first:
            await conn.copy_records_to_table("records", records=rows)
        else:
            await conn.execute(upsert, *map(list, zip(*rows, strict=True)))

    count = await _each(url, write)
    await conn.close()
    return count


async def _each(url: str, write: Callable[[Rows], Any]) -> int:
    count = 0
    async for rows in pages(url):
        await write(rows)
        count += len(rows)
    return count


async def main(url: str, into: str) -> None:
    began, cpu_began = time.perf_counter(), time.process_time()
    if into.startswith("postgresql"):
        count = await into_postgres(url, into)
    else:
        count = await (into_duckdb if into.endswith(".duckdb") else into_sqlite)(url, into)
    print(count, time.perf_counter() - began, time.process_time() - cpu_began)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
