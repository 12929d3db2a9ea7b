"""Sources as people write them for dlt."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import dlt
import requests

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
SEEN: list[Any] = []
"""What each run was given, and where it began."""


def _order(number: int) -> dict[str, Any]:
    return {
        "id": number, "at": BEGAN + timedelta(days=number), "price": Decimal("1.10"),
        "lines": [{"sku": f"s{number}"}],
    }  # fmt: skip


@dlt.source
def shop(
    count: int = 23,
    size: int = 5,
    rising: bool = True,
    pause: float = 0,
    token: str = dlt.secrets.value,
) -> Any:
    SEEN.append(token)

    @dlt.resource(
        primary_key="id", columns={"at": {"data_type": "timestamp"}, "lines": {"data_type": "json"}}
    )
    def orders(
        at: Any = dlt.sources.incremental("at", row_order="asc" if rising else None),  # noqa: B008
    ) -> Iterator[list[dict[str, Any]]]:
        SEEN.append(at.last_value)
        rows = [_order(number) for number in range(1, count + 1)]
        rows = [row for row in rows if at.last_value is None or row["at"] >= at.last_value]
        for begin in range(0, len(rows), size):
            time.sleep(pause)
            yield rows[begin : begin + size]

    @dlt.resource(primary_key=["a", "b"], write_disposition="replace")
    def archives() -> Iterator[dict[str, Any]]:
        done = dlt.current.resource_state().setdefault("done", [])
        for number in range(1, 13):
            if number not in done:
                # As in dlt's own example: noted before it is yielded.
                done.append(number)
                yield {"a": number, "b": 0}

    @dlt.resource(primary_key="a")
    def noted() -> Iterator[dict[str, Any]]:
        done = dlt.current.resource_state().setdefault("done", [])
        for number in range(1, count + 1):
            if number not in done:
                done.append(number)
                yield {"a": number}

    @dlt.transformer(data_from=orders, primary_key="id")
    def notes(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for row in rows:
            yield {"id": row["id"], "of": row["id"]}

    @dlt.resource(selected=False)
    def hidden() -> Iterator[dict[str, Any]]:
        yield {"id": 1}

    return orders, archives, noted, notes, hidden


@dlt.resource
def words() -> Iterator[str]:
    yield from ["one", "two"]


@dlt.resource(name="big", primary_key="id")
def big(count: int) -> Iterator[list[dict[str, int]]]:
    yield [{"id": number} for number in range(count)]


@dlt.resource
def slow() -> Iterator[dict[str, int]]:
    yield {"id": 1}
    time.sleep(1)
    SEEN.append("went on")
    yield {"id": 2}


@dlt.resource(name="broken")
def broken(why: str, secret_text: str = "") -> Iterator[dict[str, int]]:
    yield {"id": 1}
    reply = requests.Response()
    match why:
        case "connection":
            raise requests.ConnectionError("the network is gone")
        case "bug":
            raise KeyError(f"no {secret_text}")
        case _:
            reply.status_code = int(why)
            reply.headers["Retry-After"] = "7"
            raise requests.HTTPError(f"{why} for {secret_text}", response=reply)


@dlt.resource
def unconfigured(api_key: str = dlt.secrets.value) -> Iterator[dict[str, int]]:
    yield {"id": len(api_key)}


nothing = 1
