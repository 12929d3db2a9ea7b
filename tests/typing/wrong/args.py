"""Wrong args at submit."""

from sqlalchemy import Connection

from tests.typing.definitions import Other, counts, imports, milepost


async def submits(conn: Connection) -> None:
    await milepost.submit(imports, Other(1))  # error
    await milepost.submit(counts, "acme")  # error
    await milepost.submit_many(imports, [Other(1)])  # error
    milepost.submit_in(conn, imports, Other(1))  # error
