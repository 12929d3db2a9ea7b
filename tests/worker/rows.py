"""The data that handlers write. No key is unique, so that what is applied twice shows."""

from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, Table, select

from milepost import Database

metadata = MetaData()
rows = Table(
    "rows",
    metadata,
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
    Column("value", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
)


def insert_row(conn: Connection, value: int, attempt: int = 0) -> None:
    conn.execute(rows.insert().values(value=value, attempt=attempt))


def create_rows(database: Database) -> None:
    with database.begin() as conn:
        metadata.create_all(conn)


def read_rows(database: Database) -> list[int]:
    """The values, in the order in which they were written."""
    with database.read() as conn:
        return list(conn.execute(select(rows.c.value).order_by(rows.c.id)).scalars())


def read_writers(database: Database) -> list[int]:
    """The attempt that wrote each row."""
    with database.read() as conn:
        return list(conn.execute(select(rows.c.attempt).order_by(rows.c.id)).scalars())
