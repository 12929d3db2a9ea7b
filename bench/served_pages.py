"""A server of pages that were written before, so that serving them costs next to nothing.

    python bench/served_pages.py RECORDS PAGE_SIZE [--lazy]

It prints its port. `/<version>/<delay in ms>/records?cursor=N` gives a page of version `a` or `b`;
in `b` every second record is another one. With --lazy pages are written when they are asked for.
"""

import asyncio
import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec


def record(number: int, version: str) -> dict[str, Any]:
    changed = version == "b" and number % 2 == 0
    return {
        "id": number,
        "name": f"Müller & Söhne {number}",
        "email": f"user{number}@example.com",
        "amount": number / 8 + changed,
        "currency": "EUR",
        "quantity": number % 7,
        "paid": number % 2 == 0,
        "created_at": f"2024-05-{number % 28 + 1:02}T10:00:00Z",
        "updated_at": f"2024-0{6 + changed}-{number % 28 + 1:02}T10:00:00Z",
        "note": None if number % 3 else "a note",
        "address": {"street": f"Main {number}", "city": "Berlin"},
        "tags": ["a", "b"],
    }


def body_of(number: int, version: str, *, records: int, page: int) -> bytes:
    first = number * page
    last = first + page >= records
    rows = [record(each, version) for each in range(first, min(first + page, records))]
    return msgspec.json.encode({"data": rows, "next_cursor": None if last else str(number + 1)})


async def main(records: int, page: int, *, lazy: bool) -> None:
    written = {
        (number, version): body_of(number, version, records=records, page=page)
        for number in range(0 if lazy else -(-records // page))
        for version in "ab"
    }

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                while await reader.readline() not in (b"\r\n", b""):
                    pass
                url = urlsplit(line.split()[1].decode())
                _, version, delay, _ = url.path.split("/")
                number = int(parse_qs(url.query).get("cursor", ["0"])[0])
                if float(delay):
                    await asyncio.sleep(float(delay) / 1000)
                body = written.get((number, version)) or body_of(
                    number, version, records=records, page=page
                )
                head = (
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n"
                )
                writer.write(head.encode() + body)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), lazy="--lazy" in sys.argv))
