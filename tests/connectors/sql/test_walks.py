"""How a table is walked over: in what order, as of when, and where it ends."""

from contextlib import aclosing

import pytest
from sqlalchemy import event

from milepost.errors import FatalConnectorError, RetryableConnectorError
from tests.connectors.sql.bases import Base, records_of


def numbered(base: Base, table: str, count: int, *, key: str = "PRIMARY KEY") -> None:
    base.run(f"CREATE TABLE {table} (id integer NOT NULL {key}, name varchar(20))")
    base.insert(table, [{"id": number, "name": f"row {number}"} for number in range(count)])


@pytest.mark.parametrize(
    ("count", "pages"), [(0, [0]), (3, [3]), (4, [4]), (5, [4, 1]), (8, [4, 4])]
)
@pytest.mark.parametrize("key", ["PRIMARY KEY", ""])
async def test_a_table_ends_whatever_its_size(
    base: Base, key: str, count: int, pages: list[int]
) -> None:
    numbered(base, "t", count, key=key)
    read = await base.pages("t", page_size=4)
    assert [len(page.records) for page in read] == pages
    assert [page.last for page in read] == [False] * (len(pages) - 1) + [True]
    assert [record["id"] for record in records_of(read)] == list(range(count))
    # There is nothing after the end.
    if read[-1].cursor is not None and count:
        [end] = await base.pages("t", read[-1].cursor)
        assert (list(end.records), end.last) == ([], True)


async def test_a_walk_is_one_consistent_read(base: Base) -> None:
    numbered(base, "t", 6)
    async with (
        base.opened(page_size=2) as connector,
        aclosing(connector.pages("t", after=None)) as walk,
    ):
        read = [await anext(walk)]
        base.run("UPDATE t SET name = 'new'", "INSERT INTO t VALUES (10, 'new')")
        read += [page async for page in walk]
    names = {record["id"]: record["name"] for record in records_of(read)}
    before = {number: f"row {number}" for number in range(6)}
    if base.kind == "sqlite":
        # Each page is a read of its own.
        before |= dict.fromkeys([2, 3, 4, 5, 10], "new")
    assert names == before


async def test_a_writer_waits_for_no_walk(base: Base) -> None:
    numbered(base, "t", 6)
    async with (
        base.opened(page_size=2) as connector,
        aclosing(connector.pages("t", after=None)) as walk,
    ):
        await anext(walk)
        with base.engine.begin() as conn:
            if base.kind == "sqlite":
                conn.exec_driver_sql("PRAGMA busy_timeout = 0")
            conn.exec_driver_sql("DELETE FROM t")


async def test_a_table_without_a_key_can_only_be_read_from_its_beginning(base: Base) -> None:
    numbered(base, "t", 5, key="")
    read = await base.pages("t", page_size=2)
    if base.kind == "sqlite":
        # It has the row id.
        assert [page.cursor["order"] for page in read] == [["rowid"]] * 3
    else:
        assert [page.cursor for page in read[:-1]] == [None, None]


async def test_a_table_without_a_key_may_be_left_in_the_middle(base: Base) -> None:
    if base.kind == "sqlite":
        base.run("CREATE TABLE x (id integer)", "CREATE VIEW t AS SELECT * FROM x")
        base.insert("x", [{"id": number} for number in range(50)])
    else:
        numbered(base, "t", 50, key="")
    async with base.opened(page_size=2, tables=["t"]) as connector:
        async with aclosing(connector.pages("t", after=None)) as walk:
            assert (await anext(walk)).cursor is None
        assert len([page async for page in connector.pages("t", after=None)]) == 25


async def test_a_unique_index_without_nulls_is_a_key(base: Base) -> None:
    numbered(base, "t", 5, key="")
    base.run("CREATE UNIQUE INDEX t_name ON t (name)", "CREATE UNIQUE INDEX t_z ON t (id, name)")
    async with base.opened() as connector:
        [table] = await connector.tables()
    assert table.key == ()
    base.run("CREATE UNIQUE INDEX t_zz ON t (id)")
    async with base.opened() as connector:
        [table] = await connector.tables()
    assert table.key == ("id",)
    assert len(await base.stopping("t", page_size=2)) == 3


async def test_a_view_is_read_by_its_name_and_by_a_key_that_is_named(base: Base) -> None:
    numbered(base, "t", 5)
    base.run("CREATE VIEW v AS SELECT id, name FROM t WHERE id > 0")
    async with base.opened() as connector:
        assert [table.name for table in await connector.tables()] == ["t"]
    read = await base.stopping("v", tables=["v"], keys={"v": ["id"]}, page_size=3)
    assert [record["id"] for record in records_of(read)] == [1, 2, 3, 4]
    assert [len(page.records) for page in read] == [3, 1]


async def test_a_key_that_is_none_misses_no_row_in_silence(base: Base) -> None:
    numbered(base, "t", 5)
    base.run("UPDATE t SET name = 'same'", "CREATE VIEW v AS SELECT id, name FROM t")
    with pytest.raises(FatalConnectorError, match="two rows have the same name"):
        await base.pages("v", tables=["v"], keys={"v": ["name"]}, page_size=2)


async def test_a_checkpoint_of_a_table_with_another_key_is_refused(base: Base) -> None:
    numbered(base, "t", 5)
    [first, *_] = await base.pages("t", page_size=2)
    base.run("DROP TABLE t", "CREATE TABLE t (id integer, b integer, PRIMARY KEY (b, id))")
    with pytest.raises(FatalConnectorError, match="begin anew with --full"):
        await base.pages("t", first.cursor)


async def test_a_pass_by_a_growing_column_needs_to_tell_rows_apart(base: Base) -> None:
    numbered(base, "t", 3, key="")
    if base.kind == "sqlite":
        assert await base.pages("t", incremental={"t": "id"})
        return
    with pytest.raises(FatalConnectorError, match="nothing tells its rows apart"):
        await base.pages("t", incremental={"t": "id"})


async def test_a_column_that_is_not_there_is_named_with_those_that_are(base: Base) -> None:
    numbered(base, "t", 3)
    with pytest.raises(FatalConnectorError, match="no column 'changed'; it has id, name"):
        await base.pages("t", incremental={"t": "changed"})
    with pytest.raises(FatalConnectorError, match="no column 'x'; it has id, name"):
        await base.pages("t", keys={"t": ["x"]})


async def test_names_may_be_anything(base: Base) -> None:
    quote = "`" if base.kind == "mariadb" else '"'
    name, column = "Order-%s: {0}", "Größe %(x)s"
    with base.engine.begin() as conn:
        columns = f"{quote}{column}{quote} integer PRIMARY KEY, {quote}select{quote} integer"
        for statement in (
            f"CREATE TABLE {quote}{name}{quote} ({columns})",
            f"INSERT INTO {quote}{name}{quote} VALUES (1, 2), (2, 3), (3, 4)",
        ):
            escaped = statement if base.kind == "sqlite" else statement.replace("%", "%%")
            conn.exec_driver_sql(escaped)
    read = await base.stopping(name, page_size=1)
    assert records_of(read)[0] == {column: 1, "select": 2}
    assert len(read) == 3


async def test_a_moment_in_the_future_does_not_hide_what_comes_before_it(server_base: Base) -> None:
    server_base.run("CREATE TABLE t (id integer PRIMARY KEY, changed timestamp NULL)")
    server_base.run("INSERT INTO t VALUES (1, '2037-01-01 00:00:00')")
    [page] = await server_base.pages("t", incremental={"t": "changed"})
    server_base.run("INSERT INTO t VALUES (2, CURRENT_TIMESTAMP)")
    second = await server_base.records(
        "t", page.bookmark, incremental={"t": "changed"}, look_back=86400
    )
    assert {record["id"] for record in second} == {1, 2}


async def test_a_partition_is_read_once(postgres_base: Base) -> None:
    postgres_base.run(
        "CREATE TABLE t (id integer PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (10)",
        "INSERT INTO t VALUES (1)",
    )
    async with postgres_base.opened() as connector:
        assert [table.name for table in await connector.tables()] == ["t"]
    assert await postgres_base.records("t") == [{"id": 1}]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("decimal(40,6)", [f"12345678901234567890.00000{n}" for n in range(9)]),
        ("float", ["0.1", "0.10000001", "0.100000024", "16777216", "16777218"]),
        ("enum('z','a','m')", ["z", "a", "m"]),
        ("datetime(6)", ["0000-00-00", "2024-02-00", "2024-05-06 07:08:09.000001"]),
        ("varchar(2000)", ["x" * 1100 + f"{n}" for n in range(9)]),
    ],
)
async def test_values_that_look_alike_are_told_apart(
    mariadb_base: Base, column: str, values: list[str]
) -> None:
    with mariadb_base.engine.begin() as conn:
        conn.exec_driver_sql("SET sql_mode = 'ALLOW_INVALID_DATES'")
        conn.exec_driver_sql(
            f"CREATE TABLE t (k {column} NOT NULL, n integer, PRIMARY KEY (n)) CHARACTER SET latin1"
        )
        for number, value in enumerate(values):
            conn.exec_driver_sql("INSERT INTO t VALUES (%s, %s)", (value, number))
        there = conn.exec_driver_sql("SELECT count(DISTINCT k) FROM t").scalar_one()
        conn.exec_driver_sql("DELETE a FROM t a JOIN t b ON a.k = b.k AND a.n > b.n")
    # No index, so that the server has to sort.
    read = await mariadb_base.stopping("t", keys={"t": ["k"]}, page_size=1)
    assert len({record["n"] for record in records_of(read)}) == len(read) == there


async def test_another_schema_is_read_when_it_is_named(postgres_base: Base) -> None:
    postgres_base.run(
        "CREATE SCHEMA sales", "CREATE TABLE sales.t (id integer PRIMARY KEY, d numeric(5,1))",
        "INSERT INTO sales.t VALUES (1, 1.5)", "GRANT USAGE ON SCHEMA sales TO reader",
        "GRANT SELECT ON sales.t TO reader", "CREATE TABLE u (id integer)",
    )  # fmt: skip
    assert await postgres_base.records("t", schema="sales") == [{"id": 1, "d": 1.5}]
    with pytest.raises(FatalConnectorError, match=r"no table 't' in this source; it has u"):
        await postgres_base.records("t")


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_a_key_of_sqlite_may_hold_nulls_and_kinds_of_values(
    sqlite_base: Base, size: int
) -> None:
    sqlite_base.run(
        "CREATE TABLE t (k PRIMARY KEY COLLATE NOCASE, n integer)",
        "INSERT INTO t VALUES ('b', 1), (NULL, 2), (x'61', 3), (NULL, 4), (1.5, 5), ('A', 6), "
        "(NULL, 7), (1, 8), (9e999, 9), (cast(x'ff' AS text), 10)",
        "CREATE TABLE u (k text COLLATE NOCASE, n integer, PRIMARY KEY (k COLLATE BINARY))",
        "INSERT INTO u VALUES ('a', 1), ('A', 2), ('b', 3), ('B', 4)",
    )
    read = records_of(await sqlite_base.stopping("t", page_size=size))
    assert [record["n"] for record in read] == [2, 4, 7, 8, 5, 9, 6, 1, 10, 3]
    read = records_of(await sqlite_base.stopping("u", page_size=size))
    assert sorted(record["n"] for record in read) == [1, 2, 3, 4]


async def test_a_writer_of_a_file_is_waited_for(sqlite_base: Base) -> None:
    numbered(sqlite_base, "t", 3)
    with sqlite_base.engine.connect() as writer:
        writer.exec_driver_sql("BEGIN EXCLUSIVE")
        async with sqlite_base.opened() as connector:
            import asyncio

            reading = asyncio.ensure_future(anext(connector.pages("t", after=None)))
            done, _ = await asyncio.wait([reading], timeout=0.3)
            assert not done
            writer.exec_driver_sql("ROLLBACK")
            assert len((await reading).records) == 3


def test_pages_are_found_by_the_index_of_the_key(mariadb_base: Base) -> None:
    """Not by reading all rows before them."""
    mariadb_base.run(
        "CREATE TABLE t (a integer, b integer, c integer, PRIMARY KEY (a, b))",
        "INSERT INTO t SELECT seq DIV 10, seq MOD 10, seq FROM seq_1_to_5000",
    )
    statements: list[str] = []
    event.listen(
        mariadb_base.engine, "before_cursor_execute",
        lambda *args: statements.append(args[2]),
    )  # fmt: skip
    with mariadb_base.engine.connect() as conn:
        plan = conn.exec_driver_sql(
            "EXPLAIN SELECT * FROM t WHERE a > 400 OR (a = 400 AND b > 5) ORDER BY a, b LIMIT 9"
        ).one()
    assert plan.type == "range"


async def test_a_connection_that_is_lost_is_tried_again_from_the_last_page(
    server_base: Base,
) -> None:
    numbered(server_base, "t", 5)
    async with server_base.opened(page_size=2) as connector:
        walk = connector.pages("t", after=None)
        first = await anext(walk)
        with server_base.engine.begin() as conn:
            if server_base.kind == "postgres":
                conn.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE usename = 'reader'"
                )
            else:
                ids = conn.exec_driver_sql(
                    "SELECT id FROM information_schema.processlist WHERE user = 'reader'"
                ).scalars()
                for each in list(ids):
                    conn.exec_driver_sql(f"KILL {each}")
        with pytest.raises(RetryableConnectorError):
            await anext(walk)
    rest = await server_base.pages("t", first.cursor, page_size=2)
    assert [record["id"] for record in records_of([first, *rest])] == [0, 1, 2, 3, 4]
