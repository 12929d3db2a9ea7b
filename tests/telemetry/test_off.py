"""What is off is not imported, and what is missing is named."""

import subprocess
import sys

import pytest

from milepost import Milepost, Settings
from milepost.errors import ConfigurationError
from milepost.settings import TelemetrySettings
from milepost.telemetry import log_formatter

QUIET = """
import asyncio, sys
from milepost import Milepost, Settings
from milepost.telemetry import equip, log_formatter
from milepost.checks import CHECKS
async def main():
    async with Milepost(settings=Settings(database_url="sqlite:///" + sys.argv[1])) as milepost:
        log_formatter("text", {})
        assert equip(milepost.settings.telemetry) is None
        async with milepost.worker():
            with milepost.continued({"traceparent": "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"}):
                handle = await milepost.submit_json(CHECKS[0].kind, "{}")
            view = await handle.wait()
        assert view.state == "completed", view
        assert view.trace is None
asyncio.run(main())
packages = {name.partition(".")[0] for name in sys.modules}
assert not packages & {"opentelemetry", "prometheus_client", "structlog"}, packages
"""


def test_what_is_off_is_not_imported(tmp_path: object) -> None:
    done = subprocess.run(
        [sys.executable, "-c", QUIET, f"{tmp_path}/store.db"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("traces", "metrics", "lines"):
        monkeypatch.delitem(sys.modules, f"milepost.telemetry.{name}", raising=False)
    for package in ("opentelemetry", "prometheus_client", "structlog"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=r"MILEPOST_TRACES=on.*milepost\[telemetry\]"):
        Milepost(settings=Settings(telemetry=TelemetrySettings(traces="on")))
    with pytest.raises(ConfigurationError, match=r"MILEPOST_LOG_FORMAT=json.*structlog"):
        log_formatter("json", {})
    with pytest.raises(ConfigurationError, match=r"metrics: the package prometheus_client"):
        _ = Milepost(settings=Settings()).metrics
