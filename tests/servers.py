"""Private servers for the tests: started on free ports, killed and removed at the end.

As a program (`python tests/servers.py --install`) it makes sure that the binaries are there.
"""

import contextlib
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# With a thousand databases on one server, autovacuum would start a process many times a second.
CHEAP = [
    part
    for setting in ("fsync=off", "full_page_writes=off", "autovacuum=off", "max_wal_size=8GB")
    for part in ("-c", setting)
]

INSTALL_POSTGRES = "apt-get install -y --no-install-recommends postgresql"
INSTALL_MARIADB = "apt-get install -y --no-install-recommends mariadb-server"
INSTALL_REDIS = "apt-get install -y --no-install-recommends redis-server"
INSTALL_CHROMIUM = "apt-get install -y --no-install-recommends chromium"
# For its promtool, which no package has alone.
INSTALL_PROMETHEUS = "apt-get install -y --no-install-recommends prometheus"


def free_port() -> int:
    """A port that nobody listens on, below those that outgoing connections are given."""
    while True:
        port = random.randint(15_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def find_postgres() -> Path | None:
    """The folder of PostgreSQL's server binaries, the newest where there are several."""
    on_path = shutil.which("postgres")
    if on_path and shutil.which("initdb"):
        return Path(on_path).resolve().parent
    patterns = [
        (Path("/usr/lib/postgresql"), "*/bin/postgres"),  # Debian
        (Path("/usr"), "pgsql-*/bin/postgres"),  # PGDG's RPMs
        (Path("/opt/homebrew/opt"), "postgresql*/bin/postgres"),
    ]
    found = [path for root, glob in patterns for path in root.glob(glob)]

    def version(path: Path) -> float:
        digits = "".join(c for c in str(path.parent.parent.name) if c.isdigit() or c == ".")
        return float(digits or 0)

    return max(found, key=version).parent if found else None


def find_mariadb() -> str | None:
    """The server's binary, which Debian keeps from the path of people who are not root."""
    return shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")


def find_chromium() -> str | None:
    """The system's browser, which the dashboard is tried in."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


def install() -> None:
    """Install the servers that are missing, or say in one line what to install."""
    missing = [
        command
        for there, command in (
            (find_postgres(), INSTALL_POSTGRES),
            (find_mariadb(), INSTALL_MARIADB),
            (shutil.which("redis-server") or shutil.which("valkey-server"), INSTALL_REDIS),
            (find_chromium(), INSTALL_CHROMIUM),
            (shutil.which("promtool"), INSTALL_PROMETHEUS),
        )
        if not there
    ]
    if not missing:
        return
    packages = [command.split()[-1] for command in missing]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"The tests need: sudo apt-get install {' '.join(packages)}")
    print(f"Installing {' and '.join(packages)} for the tests …", flush=True)
    # create_main_cluster=false: the package's own server would only stand in the way.
    Path("/etc/postgresql-common").mkdir(parents=True, exist_ok=True)
    config = Path("/etc/postgresql-common/createcluster.conf")
    if not config.exists():
        config.write_text("create_main_cluster = false\n")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
    for command in missing:
        subprocess.run(
            [*command.split(), "-qq"], check=True, env=environment, stdout=subprocess.DEVNULL
        )
    if not find_postgres():
        sys.exit(f"PostgreSQL is still not there after: {INSTALL_POSTGRES}")


def install_node_packages(folder: Path) -> None:
    """Install what a folder's package.json asks for, where Node is there and they are not."""
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    there = all((folder / "node_modules" / name).exists() for name in wanted)
    if there or not shutil.which("npm"):
        return
    print(f"Installing {', '.join(wanted)} from npm …", flush=True)
    subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"],
        cwd=folder, check=True,
    )  # fmt: skip


def _unprivileged() -> int | None:
    """A user to run a database as where we are root: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    sys.exit("A database does not run as root, and there is no user 'nobody' to run it as")


@dataclass
class PostgresServer:
    """One private PostgreSQL server; every test takes a database of its own on it."""

    folder: Path
    port: int
    binaries: Path
    user: int | None
    process: subprocess.Popen[bytes] | None = field(default=None)
    databases: int = 0
    durable: bool = False

    @classmethod
    def create(cls, *, durable: bool = False) -> "PostgresServer":
        binaries = find_postgres()
        if binaries is None:
            message = f"no PostgreSQL server binaries: {INSTALL_POSTGRES}"
            raise RuntimeError(message)
        folder = Path(tempfile.mkdtemp(prefix="milepost-pg-"))
        user = _unprivileged()
        if user is not None:
            os.chown(folder, user, -1)
        server = cls(folder, free_port(), binaries, user, durable=durable)
        server._call(
            "initdb", "-D", str(folder / "data"), "-U", "milepost", "-A", "trust",
            "-E", "UTF8", "--locale=C", "--no-sync",
        )  # fmt: skip
        return server

    def _call(self, program: str, *args: str) -> None:
        done = subprocess.run(
            [str(self.binaries / program), *args],
            user=self.user, cwd=self.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            message = f"{program} failed: {done.stderr or done.stdout}"
            raise RuntimeError(message)

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [
                str(self.binaries / "postgres"), "-D", str(self.folder / "data"),
                "-p", str(self.port), "-c", "listen_addresses=127.0.0.1",
                "-c", f"unix_socket_directories={self.folder}", "-c", "max_connections=200",
                *([] if self.durable else CHEAP),
            ],
            user=self.user, cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + 30
        while True:
            try:
                self._call("pg_isready", "-h", "127.0.0.1", "-p", str(self.port), "-U", "milepost")
            except RuntimeError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    message = (
                        "PostgreSQL did not start: " + (self.folder / "log").read_text()[-800:]
                    )
                    raise RuntimeError(message) from None
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(timeout=30)

    def create_database(self, *, like: str = "template1", then: str = "") -> str:
        """Make a database, empty or like another; runs a statement in it and returns its URL."""
        self.databases += 1
        name = f"test_{os.getpid()}_{self.databases}"
        more = ["-c", rf"\connect {name}", "-c", then] if then else []
        self._call(
            "psql", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "milepost",
            "-d", "postgres", "-v", "ON_ERROR_STOP=1",
            "-c", f"CREATE DATABASE {name} TEMPLATE {like} STRATEGY wal_log", *more,
        )  # fmt: skip
        return f"postgresql://milepost@127.0.0.1:{self.port}/{name}"

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class MariadbServer:
    """One private MariaDB server; its root has no password."""

    folder: Path
    port: int
    user: int | None
    process: subprocess.Popen[bytes] | None = field(default=None)
    databases: int = 0

    @classmethod
    def create(cls) -> "MariadbServer":
        if find_mariadb() is None:
            message = f"no MariaDB server binary: {INSTALL_MARIADB}"
            raise RuntimeError(message)
        folder = Path(tempfile.mkdtemp(prefix="milepost-mariadb-"))
        user = _unprivileged()
        if user is not None:
            os.chown(folder, user, -1)
        done = subprocess.run(
            [
                "mariadb-install-db", "--no-defaults", f"--datadir={folder / 'data'}",
                f"--tmpdir={folder}",  # two that share one take each other's files
                "--auth-root-authentication-method=normal", "--skip-test-db",
            ],
            user=user, cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            message = f"mariadb-install-db failed: {done.stderr or done.stdout}"
            raise RuntimeError(message)
        return cls(folder, free_port(), user)

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [
                str(find_mariadb()), "--no-defaults", f"--datadir={self.folder / 'data'}",
                f"--tmpdir={self.folder}", f"--port={self.port}", "--bind-address=127.0.0.1",
                "--skip-name-resolve",
                f"--socket={self.folder / 'socket'}", f"--pid-file={self.folder / 'pid'}",
                "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M",
                "--innodb-log-file-size=16M",
            ],
            user=self.user, cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + 30
        while True:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe,
            ):
                # The server speaks first.
                if probe.recv(16) and self.process.poll() is None:
                    return
            if time.monotonic() > deadline or self.process.poll() is not None:
                message = "MariaDB did not start: " + (self.folder / "log").read_text()[-800:]
                raise RuntimeError(message)
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(timeout=30)

    def create_database(self) -> str:
        """Make an empty database; returns its URL."""
        self.databases += 1
        name = f"test_{os.getpid()}_{self.databases}"
        subprocess.run(
            [
                "mariadb", "--no-defaults", "-h", "127.0.0.1", "-P", str(self.port), "-u", "root",
                "-e", f"CREATE DATABASE {name} CHARACTER SET utf8mb4",
            ],
            check=True,
        )  # fmt: skip
        return f"mysql://root@127.0.0.1:{self.port}/{name}"

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class RedisServer:
    """One private Redis on a port of its own, which may be stopped, killed and emptied."""

    folder: Path
    port: int
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None)

    @classmethod
    def create(cls, *options: str) -> "RedisServer":
        return cls(Path(tempfile.mkdtemp(prefix="milepost-redis-")), free_port(), options)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        binary = shutil.which("redis-server") or shutil.which("valkey-server")
        if binary is None:
            message = f"no Redis server binary: {INSTALL_REDIS}"
            raise RuntimeError(message)
        log = (self.folder / "log").open("ab")
        keeps_nothing = () if "--sentinel" in self.options else ("--save", "", "--appendonly", "no")
        self.process = subprocess.Popen(
            [
                binary, *self.options, "--port", str(self.port), "--bind", "127.0.0.1",
                "--dir", str(self.folder), *keeps_nothing,
            ],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + 30
        while True:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe,
            ):
                probe.sendall(b"PING\r\n")
                if probe.recv(16) and self.process.poll() is None:
                    return
            if time.monotonic() > deadline or self.process.poll() is not None:
                message = "Redis did not start: " + (self.folder / "log").read_text()[-800:]
                raise RuntimeError(message)
            time.sleep(0.01)

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(timeout=30)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def redis_server(*options: str) -> Iterator[RedisServer]:
    """Start a private Redis with these options."""
    server = RedisServer.create(*options)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@contextlib.contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[PostgresServer]:
    """Start a private server; a durable one syncs its commits to the disk."""
    server = PostgresServer.create(durable=durable)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@contextlib.contextmanager
def mariadb_server() -> Iterator[MariadbServer]:
    """Start a private MariaDB."""
    server = MariadbServer.create()
    try:
        server.start()
        yield server
    finally:
        server.remove()


if __name__ == "__main__":
    if "--install" in sys.argv:
        install()
        install_node_packages(Path(__file__).parent / "node")
    else:
        sys.exit("usage: python tests/servers.py --install")
