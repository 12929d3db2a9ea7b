"""A web process, a worker process and a collector, started once for all tests of this folder."""

import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.processes import MILEPOST, ROOT, until
from tests.servers import free_port
from tests.telemetry.collector import Collector, collector

TOKEN = "sesame-open-4711"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def get(url: str, token: str | None = None) -> tuple[int, str]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


@dataclass
class Fleet:
    """Two processes on one store; what the worker logs stands in a file."""

    folder: Path
    collector: Collector
    metrics_url: str
    url: str = ""

    def post(self, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}", json.dumps(body).encode(),
            {"Content-Type": "application/json", **headers},
        )  # fmt: skip
        with urllib.request.urlopen(request) as reply:
            found: dict[str, Any] = json.load(reply)
            return found

    def submit(self, kind: str, args: dict[str, Any], trace: str | None = None, **more: Any) -> int:
        parent = {} if trace is None else {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        return int(self.post("/jobs", {"kind": kind, "args": args, **more}, **parent)["id"])

    def show(self, job_id: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(get(f"{self.url}/api/v1/jobs/{job_id}")[1])
        return found

    def ended(self, job_id: int) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.show(job_id)
            return found if found["state"] in ("completed", "failed", "cancelled") else None

        found: dict[str, Any] = until(look, f"the end of job {job_id}")
        return found

    def scrape(self) -> str:
        status, text = get(self.metrics_url)
        assert status == 200, text
        return text

    def value(self, name: str) -> float:
        return value_of(self.scrape(), name)

    def lines(self, job_id: int) -> list[dict[str, Any]]:
        said = map(json.loads, (self.folder / "worker.log").read_text().splitlines())
        return [line for line in said if line.get("job_id") == job_id]


def value_of(text: str, name: str) -> float:
    """The value of a series, spelled as a scrape spells it; 0 where there is none."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("telemetry")
    port = free_port()
    with collector() as collecting:
        environment = {
            **os.environ,
            "DATABASE_URL": f"sqlite:///{folder}/store.db",
            "MILEPOST_APP": "tests.telemetry.app:milepost",
            "MILEPOST_LOG_FORMAT": "json",
            "MILEPOST_METRICS_PORT": str(port),
            "MILEPOST_PORT": "0",
            "MILEPOST_POLL_EVERY": "50ms",
            "MILEPOST_TRACES": "on",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collecting.url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "SHOP_TOKEN": TOKEN,
            "PYTHONUNBUFFERED": "1",
        }
        made = Fleet(folder, collecting, f"http://127.0.0.1:{port}/metrics")
        # The store's tables first: two that make them at once are tried elsewhere.
        processes = [_start(folder, part, environment) for part in ("web", "worker")]
        try:
            made.url = soon(lambda: _url(folder / "web.log", processes), "the API")
            soon(lambda: _answers(made.metrics_url), "the worker's port")
            yield made
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(timeout=30)


def _start(folder: Path, part: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with (folder / f"{part}.log").open("wb") as log:
        return subprocess.Popen(
            [*MILEPOST, part], cwd=ROOT, env={**environment, "OTEL_SERVICE_NAME": f"shop-{part}"},
            stdout=log, stderr=log,
        )  # fmt: skip


def _url(log: Path, processes: list[subprocess.Popen[bytes]]) -> str | None:
    assert all(process.poll() is None for process in processes), log.read_text()
    found = re.search(r"Milepost is on (\S+)", log.read_text())
    return found and found[1]


def _answers(url: str) -> bool:
    try:
        return get(url)[0] == 200
    except OSError:
        return False


def soon(check: Callable[[], Any], what: str) -> Any:
    """Wait for what is exported or logged a moment later."""

    def look() -> Any:
        found = check()
        if not found:
            # Each look is a request, or reads a file.
            time.sleep(0.05)
        return found

    return until(look, what)
