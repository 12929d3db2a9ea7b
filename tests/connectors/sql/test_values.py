"""What the databases' values are as JSON: nothing is lost."""

from typing import Any

import pytest

from milepost.connectors.sql.values import parsed
from tests.connectors.sql.bases import Base

POSTGRES: list[tuple[str, str, Any, str]] = [
    ("bigint", "9223372036854775807", 2**63 - 1, "integer"),
    ("numeric", "'1.10'", "1.10", "text"),
    ("numeric(10,2)", "'2.50'", 2.5, "float"),
    ("numeric(15,2)", "'1234567890123.45'", 1234567890123.45, "float"),
    ("numeric(16,2)", "'12345678901234.56'", "12345678901234.56", "text"),
    ("numeric(30)", "'123456789012345678901234567890'", 123456789012345678901234567890, "integer"),
    ("numeric(10,2)", "'NaN'", "NaN", "float"),
    ("real", "1.1", 1.1, "float"),
    ("double precision", "0.1", 0.1, "float"),
    ("double precision", "'-Infinity'", "-Infinity", "float"),
    ("boolean", "true", True, "boolean"),
    ("timestamptz", "'2024-05-06 07:08:09.123456+02'", "2024-05-06T05:08:09.123456+00:00", "timestamp"),
    ("timestamptz", "'infinity'", "infinity", "timestamp"),
    ("timestamp", "'2024-05-06 07:08:09'", "2024-05-06T07:08:09", "text"),
    ("timestamp", "'0044-03-15 12:00:00 BC'", "0044-03-15 12:00:00 BC", "text"),
    ("date", "'2024-05-06'", "2024-05-06", "text"),
    ("date", "'12024-05-06'", "12024-05-06", "text"),
    ("time", "'07:08:09.5'", "07:08:09.5", "text"),
    ("interval", "'1 year 2 days 3 hours'", "P1Y2DT3H", "text"),
    ("uuid", "'00000000-0000-0000-0000-00000000000A'", "00000000-0000-0000-0000-00000000000a", "text"),
    ("bytea", r"'\xff00'", "/wA=", "text"),
    ("jsonb", '\'{"a": [1.5, null]}\'', {"a": [1.5, None]}, "json"),
    ("json", "'[0.12345678901234567890, 1e999]'", ["0.12345678901234567890", "1e999"], "json"),
    ("integer[]", "'{{1,2},{3,NULL}}'", [[1, 2], [3, None]], "json"),
    ("mood[]", "'{sad,fine}'", ["sad", "fine"], "json"),
    ("timestamptz[]", "'{2024-05-06 07:08:09+00}'", ["2024-05-06T07:08:09+00:00"], "json"),
    ("mood", "'fine'", "fine", "text"),
    ("inet", "'10.0.0.1/8'", "10.0.0.1/8", "text"),
    ("int4range", "'[1,5)'", "[1,5)", "text"),
    ("bit(3)", "B'101'", "101", "text"),
    ("point", "'(1,2)'", "(1,2)", "text"),
    ("char(4)", "'ab'", "ab  ", "text"),
    ("text", "'naïve 🎉'", "naïve 🎉", "text"),
]  # fmt: skip

MARIADB: list[tuple[str, str, Any, str]] = [
    ("bigint unsigned", "18446744073709551615", 2**64 - 1, "integer"),
    ("boolean", "true", 1, "integer"),
    ("decimal(10,2)", "2.50", 2.5, "float"),
    ("decimal(30,10)", "1.5", "1.5000000000", "text"),
    ("decimal(30)", "123456789012345678901234567890", 123456789012345678901234567890, "integer"),
    ("float", "1.1", 1.100000023841858, "float"),
    ("double", "0.1", 0.1, "float"),
    ("datetime(6)", "'2024-05-06 07:08:09.123456'", "2024-05-06T07:08:09.123456", "text"),
    ("datetime", "'0000-00-00'", "0000-00-00 00:00:00", "text"),
    ("date", "'2024-00-00'", "2024-00-00", "text"),
    ("timestamp(6)", "'2024-05-06 07:08:09.1'", "2024-05-06T07:08:09.100000+00:00", "timestamp"),
    ("time", "'-838:59:59'", "-838:59:59", "text"),
    ("year", "2024", 2024, "integer"),
    ("json", '\'{"a": [1.5, null]}\'', {"a": [1.5, None]}, "json"),
    ("longtext", '\'{"a": 1}\'', '{"a": 1}', "text"),
    ("blob", "x'ff00'", "/wA=", "text"),
    ("binary(3)", "'ab'", "YWIA", "text"),
    ("bit(9)", "257", 257, "integer"),
    ("enum('z','a')", "'a'", "a", "text"),
    ("set('a','b')", "'b,a'", "a,b", "text"),
    ("uuid", "'00000000-0000-0000-0000-00000000000A'", "00000000-0000-0000-0000-00000000000a", "text"),
    ("inet6", "'::1'", "::1", "text"),
    ("varchar(9) CHARACTER SET latin1", "'naïve'", "naïve", "text"),
    ("text", "'🎉'", "🎉", "text"),
]  # fmt: skip

SQLITE: list[tuple[str, str, Any, str]] = [
    ("integer", "9223372036854775807", 2**63 - 1, "integer"),
    ("integer", "'five'", "five", "integer"),
    ("decimal(10,2)", "2.5", 2.5, "float"),
    ("real", "9e999", "Infinity", "float"),
    ("boolean", "1", True, "boolean"),
    ("boolean", "7", 7, "boolean"),
    ("datetime", "'2024-05-06 07:08:09'", "2024-05-06 07:08:09", "text"),
    ("datetime", "1714979289", 1714979289, "text"),
    ("json", "'{\"a\": [1.5]}'", {"a": [1.5]}, "json"),
    ("json", "'no json'", "no json", "json"),
    ("blob", "x'ff00'", "/wA=", "text"),
    ("text", "cast(x'ff' AS text)", "/w==", "text"),
    ("text", "'naïve 🎉'", "naïve 🎉", "text"),
]


@pytest.mark.parametrize("kind", ["postgres", "mariadb", "sqlite"])
async def test_each_value_comes_as_json_that_loses_nothing(
    kind: str, request: pytest.FixtureRequest
) -> None:
    base: Base = request.getfixturevalue(f"{kind}_base")
    if kind == "postgres":
        base.run("CREATE TYPE mood AS ENUM ('sad', 'fine')")
    cases = {"postgres": POSTGRES, "mariadb": MARIADB, "sqlite": SQLITE}[kind]
    null = "" if kind != "mariadb" else " NULL"
    columns = ", ".join(f"c{number} {case[0]}{null}" for number, case in enumerate(cases))
    values = ", ".join(case[1] for case in cases)
    with base.engine.begin() as conn:
        if kind == "mariadb":
            conn.exec_driver_sql("SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'")
        conn.exec_driver_sql(f"CREATE TABLE t (id integer PRIMARY KEY, {columns})")
        conn.exec_driver_sql(f"INSERT INTO t VALUES (1, {values})".replace("%", "%%"))
        conn.exec_driver_sql("INSERT INTO t (id) VALUES (2)")

    [one, nulls] = await base.records("t")
    async with base.opened() as connector:
        [table] = await connector.tables()

    for number, (declared, value, expected, column_type) in enumerate(cases):
        found = one[f"c{number}"]
        assert (type(found), found) == (type(expected), expected), f"{declared} {value}"
        assert table.columns[f"c{number}"] == column_type, f"{declared} {value}"
        assert nulls[f"c{number}"] is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("1e3", 1000.0),
        ("0.30000000000000004", 0.30000000000000004),
        ("0.300000000000000041", "0.300000000000000041"),
        ("1e400", "1e400"),
        ("123456789012345678", 123456789012345678),
    ],
)
def test_a_number_in_json_that_no_float_holds_stays_text(text: str, value: Any) -> None:
    found = parsed(text)
    assert (type(found), found) == (type(value), value)
