from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.connectors.sql.bases import KINDS, Base
from tests.servers import MariadbServer, PostgresServer

PASSWORD = "p@ss w0rd/%"


@pytest.fixture(params=KINDS)
def base(request: pytest.FixtureRequest) -> Base:
    """An empty database, of each kind in turn."""
    made: Base = request.getfixturevalue(f"{request.param}_base")
    return made


@pytest.fixture(params=["postgres", "mariadb"])
def server_base(request: pytest.FixtureRequest) -> Base:
    """An empty database on a server, of each kind in turn."""
    made: Base = request.getfixturevalue(f"{request.param}_base")
    return made


@pytest.fixture
def sqlite_base(tmp_path: Path) -> Base:
    return Base("sqlite", f"sqlite:///{tmp_path / 'source.db'}")


@pytest.fixture(scope="session")
def guarded_postgres(postgres: PostgresServer) -> PostgresServer:
    """A server that asks the user `reader` for a password."""
    rules = postgres.folder / "data" / "pg_hba.conf"
    rules.write_text("host all reader 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
    admin = Base("postgres", f"postgresql://milepost@127.0.0.1:{postgres.port}/postgres")
    admin.run("SELECT pg_reload_conf()", "CREATE ROLE reader LOGIN")
    return postgres


@pytest.fixture
def postgres_base(guarded_postgres: PostgresServer) -> Iterator[Base]:
    owner = guarded_postgres.create_database()
    url = owner.replace("milepost@", "reader:$PW@")
    base = Base("postgres", url, {"PW": PASSWORD}, owner)
    base.run(
        f"ALTER ROLE reader PASSWORD '{PASSWORD.replace('%', '%%')}'",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader",
    )
    yield base
    base.run("DROP OWNED BY reader")


@pytest.fixture
def mariadb_base(mariadb: MariadbServer) -> Base:
    # It has no certificate, and to load those of the system takes longer than most tests.
    owner = f"{mariadb.create_database()}?ssl_disabled=true"
    url = owner.replace("root@", "reader:$PW@").replace("mysql:", "mariadb:")
    base = Base("mariadb", url, {"PW": PASSWORD}, owner)
    name = owner.rpartition("/")[2].partition("?")[0]
    base.run(
        f"CREATE OR REPLACE USER reader@'127.0.0.1' IDENTIFIED BY '{PASSWORD.replace('%', '%%')}'",
        f"GRANT SELECT, SHOW VIEW ON {name}.* TO reader@'127.0.0.1'",
    )
    return base
