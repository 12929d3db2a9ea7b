"""What is said where a database does not do what it should: what was given, and what to do."""

import sys
from pathlib import Path
from typing import Any

import pytest

from milepost.connectors import Access, Secrets, SqlSource, open_connector, source_from
from milepost.errors import (
    AuthenticationRefused,
    ConnectorError,
    FatalConnectorError,
    RetryableConnectorError,
)
from tests.connectors.sql.bases import Base
from tests.servers import free_port


async def error_of(
    url: str, values: dict[str, str] | None = None, **options: Any
) -> ConnectorError:
    connector = open_connector(source_from(url, **options), Access(secrets=Secrets(values or {})))
    try:
        with pytest.raises(ConnectorError) as caught:
            await connector.tables()
        report = await connector.test()
        assert report.problem is not None
        reached = isinstance(caught.value, AuthenticationRefused) or "reached" in str(options)
        assert report.reached == (reached or report.authenticated)
    finally:
        await connector.aclose()
    return caught.value


async def test_a_wrong_password_asks_for_a_person_and_is_not_shown(server_base: Base) -> None:
    error = await error_of(server_base.url, {"PW": "hunter2hunter2"})
    assert isinstance(error, AuthenticationRefused)
    assert "hunter2" not in str(error)
    assert "reader:$PW@" in str(error)
    assert "mend user and password" in str(error)


async def test_a_user_that_is_not_there_asks_for_a_person(server_base: Base) -> None:
    url = server_base.url.replace("reader:$PW", "nobody")
    assert isinstance(await error_of(url), AuthenticationRefused)


async def test_a_database_that_is_not_there_is_named(server_base: Base) -> None:
    url = server_base.owner_url.rpartition("/")[0] + "/nowhere"
    error = await error_of(url)
    assert isinstance(error, FatalConnectorError)
    assert "nowhere" in str(error)


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
async def test_a_server_that_is_away_may_come_back(scheme: str) -> None:
    refused = await error_of(f"{scheme}://ann@127.0.0.1:{free_port()}/shop")
    assert isinstance(refused, RetryableConnectorError)
    unknown = await error_of(f"{scheme}://ann@no-such-host.invalid/shop")
    assert isinstance(unknown, RetryableConnectorError)
    assert "no-such-host.invalid" in str(unknown)
    hidden = await error_of(f"{scheme}://ann@$HOST/shop", {"HOST": "no-such-host.invalid"})
    assert "$HOST" in str(hidden)
    assert "no-such-host" not in str(hidden)


async def test_a_table_without_the_right_to_read_it_is_named(server_base: Base) -> None:
    server_base.run(
        "CREATE TABLE a (id integer PRIMARY KEY)", "CREATE TABLE b (id integer PRIMARY KEY)"
    )
    if server_base.kind == "postgres":
        server_base.run("REVOKE SELECT ON b FROM reader")
        async with server_base.opened() as connector:
            report = await connector.test()
        assert (report.reached, report.authenticated) == (True, True)
        assert report.problem is not None
        assert "no right to read b: " in report.problem
        assert "GRANT SELECT" in report.problem
        assert "a: 1 columns, key id" in report.notes
        with pytest.raises(
            FatalConnectorError, match="permission denied for table b.*GRANT SELECT"
        ):
            await server_base.pages("b")
        return
    # MariaDB shows nobody what he may not read.
    name = server_base.owner_url.rpartition("/")[2].partition("?")[0]
    server_base.run(
        f"REVOKE SELECT, SHOW VIEW ON {name}.* FROM reader@'127.0.0.1'",
        f"GRANT SELECT ON {name}.a TO reader@'127.0.0.1'",
    )
    with pytest.raises(
        FatalConnectorError, match="'b' in the database, or no right to see it.* are: a"
    ):
        await server_base.pages("b", tables=["b"])


async def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.db"
    error = await error_of(f"sqlite:///{path}")
    assert isinstance(error, FatalConnectorError)
    assert str(path) in str(error)
    assert not path.exists()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    path.write_text("id,name\n" * 1000)
    assert isinstance(await error_of(f"sqlite:///{path}"), FatalConnectorError)


@pytest.mark.parametrize(
    ("url", "driver", "command"),
    [
        ("postgresql://ann@db/shop", "psycopg", "milepost[postgres]"),
        ("mysql://ann@db/shop", "pymysql", "milepost[mysql]"),
        ("mariadb://ann@db/shop", "pymysql", "milepost[mysql]"),
    ],
)
def test_a_missing_driver_is_named_with_the_command_that_installs_it(
    url: str, driver: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in sys.modules if each.startswith("milepost.connectors.sql.")]:
        if name.endswith((".postgres", ".postgres_values", ".mysql")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(FatalConnectorError, match="pip install") as caught:
        open_connector(source_from(url), Access(secrets=Secrets({})))
    assert command in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:hunter2@db/shop",
        "mysql://ann@corp:hunter2@db/shop",
        "mariadb://:hunter2@db/shop",
        "postgresql://ann@db/shop?password=hunter2",
        "mysql://ann@db/shop?passwd=hunter2",
    ],
)
def test_a_plain_password_is_refused_because_it_would_be_stored(url: str) -> None:
    with pytest.raises(FatalConnectorError, match="url h.* a password") as caught:
        source_from(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["postgresql://db", "sqlite://", "postgresql://db:port/shop", "mysql://ann@db"]
)
def test_an_address_that_leads_nowhere_is_refused(url: str) -> None:
    with pytest.raises(FatalConnectorError, match="url "):
        source_from(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:$PW@db:5433/shop?sslmode=require", "postgres://db/shop",
        "postgresql+psycopg2://db/shop", "mysql://ann:$PW@db/shop", "mariadb://db/shop",
        "sqlite:///shop.db", "sqlite:////data/shop.db", "SQLite:///shop.db",
    ],
)  # fmt: skip
def test_the_url_says_that_the_source_is_a_database_and_the_tables_which_of_its(url: str) -> None:
    source = source_from(url, tables=["orders", "customers"], look_back=60)
    assert source == SqlSource(url=url, tables=("orders", "customers"), look_back=source.look_back)  # type: ignore[attr-defined]


def test_what_is_behind_a_name_may_be_any_text() -> None:
    connector = open_connector(
        source_from("postgresql://$USER:$PW@$HOST/shop"),
        Access(secrets=Secrets({"USER": "a@b", "PW": "p@s/s:w%rd?#", "HOST": "db.example"})),
    )
    url = connector._dialect.engine.url  # type: ignore[attr-defined]
    assert (url.username, url.password, url.host) == ("a@b", "p@s/s:w%rd?#", "db.example")
