"""Rows a second of a download beside dlt, a Singer tap with its target, and a bare loop.

    python bench/downloads.py [--records 200000] [--pages 1000,100] [--delays 0,50]
                              [--destinations sqlite,postgres,duckdb] [--sides milepost,bare,dlt,…]

A local HTTP server in another process serves pages of 12 fields (two nested) that were written
before. Each side is a process of its own that loads an empty database, loads it again unchanged,
and again with every second record changed; all sides in turn, in one run. With a delay each request
takes so long, and a tenth of the records is loaded. Memory is the peak of the side's process; for
Singer that of its target. What the sides guarantee is in bench/RESULTS.md.

    python bench/downloads.py --long 10000000

loads that many records into each destination with Milepost alone, and shows its memory meanwhile.
"""

import argparse
import contextlib
import os
import platform
import shlex
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import psutil
from tests.servers import PostgresServer, postgres_server

HERE = Path(__file__).parent
TARGETS = HERE.parent / ".servers" / "singer-targets"
LOADS = {"first": "a", "unchanged": "a", "half changed": "b"}
SIDES = ("milepost", "bare", "dlt", "dlt fastest", "singer")
PACKAGES = ("dlt", "asyncpg", "psycopg", "aiohttp", "msgspec", "duckdb")


@dataclass(frozen=True)
class Run:
    """What one load took."""

    records: int
    seconds: float
    megabytes: float
    cpu: float | None = None
    share: float | None = None

    def __str__(self) -> str:
        told = f"{self.records / self.seconds:>9,.0f} rows/s {self.megabytes:>6,.0f} MB"
        if self.cpu is not None:
            told += f" {1e6 * self.cpu / self.records:>6.1f} µs CPU a row"
        return told if self.share is None else f"{told}, checkpoints {self.share:.1f} %"


@contextlib.contextmanager
def serving(records: int, page: int, *options: str) -> Iterator[str]:
    server = subprocess.Popen(
        [sys.executable, HERE / "served_pages.py", str(records), str(page), *options],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
    finally:
        server.kill()
        server.wait()


def command(side: str, url: str, into: str, folder: Path) -> list[str]:
    match side:
        case "milepost":
            return [sys.executable, str(HERE / "sides/with_milepost.py"), url, into]
        case "bare":
            return [sys.executable, str(HERE / "sides/bare.py"), url, into]
        case "singer":
            return singer(url, into, folder)
        case _:
            how = "fastest" if side.endswith("fastest") else "default"
            return [
                sys.executable, str(HERE / "sides/with_dlt.py"),
                url, with_password(into), str(folder / "dlt"), how,
            ]  # fmt: skip


def with_password(into: str) -> str:
    """Add a password, which the server does not ask for and dlt insists on."""
    return into.replace("+psycopg", "").replace("milepost@", "milepost:none@")


def singer(url: str, into: str, folder: Path) -> list[str]:
    """A pipe; the target's process is what is measured."""
    config = folder / "target.json"
    connection = into.replace("+psycopg", "").replace("postgresql://", "postgresql+psycopg2://")
    config.write_text(f'{{"sqlalchemy_url": "{connection}", "default_target_schema": "public"}}')
    tap = shlex.join([sys.executable, str(HERE / "sides/tap_pages.py"), url])
    target = shlex.join([str(TARGETS / "bin/target-postgres"), "--config", str(config)])
    return ["bash", "-c", f"set -o pipefail; exec 3>&1; {tap} | {target} >/dev/null"]


PATIENCE = 90.0


def load(side: str, url: str, into: str, folder: Path, records: int) -> Run:
    began = time.perf_counter()
    process = subprocess.Popen(
        command(side, url, into, folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    peak = Peak(process.pid)
    peak.start()
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    took = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f"{side}: {err[-2000:]}")
    if side == "singer":
        # Its start belongs to what its user waits for.
        return Run(records, took, peak.megabytes)
    count, seconds, cpu, *share = out.split()[-4 if side == "milepost" else -3 :]
    assert int(count) == records, (side, count, records)
    return Run(records, float(seconds), peak.megabytes, float(cpu), *map(float, share))


class Peak(threading.Thread):
    """The greatest memory of a process, or of the greatest of its children."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self.megabytes = 0.0

    def run(self) -> None:
        with contextlib.suppress(psutil.Error):
            while self._process.is_running():
                each = [self._process, *self._process.children(recursive=True)]
                size = max(one.memory_info().rss for one in each)
                self.megabytes = max(self.megabytes, size / 1e6)
                time.sleep(0.05)


def possible(side: str, destination: str) -> bool:
    if side == "singer":
        return destination == "postgres"
    # dlt's merge into SQLite writes no parquet files.
    return not (side == "dlt fastest" and destination == "sqlite")


def measure(given: argparse.Namespace, destination: str, page: int, delay: int) -> None:
    records = given.records // (10 if delay else 1)
    print(
        f"\n{destination}, {records:,} records, {page:,} a page, {delay} ms a request", flush=True
    )
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(serving(records, page))
        server = (
            stack.enter_context(postgres_server(durable=True))
            if destination == "postgres"
            else None
        )
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        places = {}
        for side in given.sides.split(","):
            if possible(side, destination):
                (folder / side).mkdir()
                places[side] = place(destination, server, folder / side)
        for what, served in LOADS.items():
            rates = {}
            for side, into in list(places.items()):
                source = f"{url}/{served}/{delay}/records"
                try:
                    run = load(side, source, into, folder / side, records)
                except subprocess.TimeoutExpired:
                    # dlt's second merge into SQLite: its time grows with the square of the rows.
                    print(f"  {what:<13} {side:<12} not done after {PATIENCE} s", flush=True)
                    del places[side]
                    continue
                rates[side] = run.records / run.seconds
                ratio = rates["milepost"] / rates[side] if "milepost" in rates else 0
                beside = (
                    "" if side == "milepost" or not ratio else f"   Milepost: {ratio:.2f} times"
                )
                print(f"  {what:<13} {side:<12} {run}{beside}", flush=True)


def place(destination: str, server: PostgresServer | None, folder: Path) -> str:
    if server is not None:
        return server.create_database()
    return str(folder / ("main.db" if destination == "sqlite" else "main.duckdb"))


def long(given: argparse.Namespace) -> None:
    """Many records, with memory told while they come."""
    for destination in given.destinations.split(","):
        print(f"\n{destination}, {given.long:,} records, 1,000 a page", flush=True)
        with contextlib.ExitStack() as stack:
            url = stack.enter_context(serving(given.long, 1000, "--lazy"))
            server = (
                stack.enter_context(postgres_server(durable=True))
                if destination == "postgres"
                else None
            )
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            into = place(destination, server, folder)
            source = f"{url}/a/0/records"
            began = time.perf_counter()
            process = subprocess.Popen(
                command("milepost", source, into, folder), stdout=subprocess.PIPE, text=True
            )
            watched = psutil.Process(process.pid)
            next_at = 0.0
            while process.poll() is None:
                if time.perf_counter() - began >= next_at:
                    with contextlib.suppress(psutil.Error):
                        size = watched.memory_info().rss / 1e6
                        print(f"  after {next_at:>5.0f} s: {size:,.0f} MB", flush=True)
                    next_at += 15
                time.sleep(0.2)
            count, seconds, _, share = process.communicate()[0].split()
            rate = int(count) / float(seconds)
            print(
                f"  {int(count):,} records, {rate:,.0f} rows/s, checkpoints {share} %", flush=True
            )


def install() -> None:
    """Install the Singer target where it is missing, in a place of its own."""
    if (TARGETS / "bin/target-postgres").exists():
        return
    venv.create(TARGETS, with_pip=True)
    subprocess.run(
        [TARGETS / "bin/pip", "install", "--quiet", "meltanolabs-target-postgres"], check=True
    )


def versions() -> str:
    found = []
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--pages", default="1000,100")
    parser.add_argument("--delays", default="0,50")
    parser.add_argument("--destinations", default="sqlite,postgres,duckdb")
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--long", type=int)
    given = parser.parse_args()
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {versions()}, "
        f"{os.cpu_count()} cores"
    )
    if given.long:
        long(given)
        return
    if "singer" in given.sides:
        install()
    for destination in given.destinations.split(","):
        for page in map(int, given.pages.split(",")):
            for delay in map(int, given.delays.split(",")):
                measure(given, destination, page, delay)


if __name__ == "__main__":
    main()
