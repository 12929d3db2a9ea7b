"""The dashboard and the alert rules that are shipped: right, and about metrics that there are."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from milepost import Milepost, Settings
from milepost.settings import RedisSettings
from tests.servers import INSTALL_PROMETHEUS
from tests.telemetry.conftest import Fleet

OPS = Path(__file__).parent.parent.parent / "ops"
RULES = OPS / "prometheus" / "rules.yml"
DASHBOARD: dict[str, Any] = json.loads((OPS / "grafana" / "milepost.json").read_text())
DOCS = (Path(__file__).parent.parent.parent / "docs" / "telemetry.md").read_text()


def promtool(*arguments: str | Path, stdin: str | None = None) -> str:
    binary = shutil.which("promtool")
    if binary is None:
        reason = f"promtool is missing: {INSTALL_PROMETHEUS}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    done = subprocess.run(
        [binary, *map(str, arguments)], input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> list[str]:
    """What the dashboard asks, with something in the place of its variables."""
    asked = [t["expr"] for panel in DASHBOARD["panels"] for t in panel.get("targets", ())]
    return [re.sub(r"\$\w+", ".*", each.replace("$__rate_interval", "5m")) for each in asked]


def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", RULES)


def test_the_rules_tell_of_what_they_are_for() -> None:
    promtool("test", "rules", OPS / "prometheus" / "rules_test.yml")
    tried = (OPS / "prometheus" / "rules_test.yml").read_text()
    assert [
        rule["alert"] for rule in rules() if "alert" in rule and rule["alert"] not in tried
    ] == []


def test_prometheus_takes_what_the_dashboard_asks(tmp_path: Path) -> None:
    asked = [{"record": f"asked:{n}", "expr": each} for n, each in enumerate(queries())]
    assert len(asked) > 30
    file = tmp_path / "asked.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": asked}]}))
    promtool("check", "rules", file)


def test_the_dashboard_s_panels_have_places_and_numbers_of_their_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells)
        taken |= cells


async def test_every_metric_that_is_asked_for_is_there(fleet: Fleet, tmp_path: Path) -> None:
    with_redis = Milepost(
        settings=Settings(
            database_url=f"sqlite:///{tmp_path}/store.db",
            redis=RedisSettings(url="redis://127.0.0.1:1"),
        )
    )
    text = fleet.scrape() + with_redis.metrics.text().decode()
    await with_redis.aclose()
    there = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        ends = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        there |= {name + end for end in ends}
    asked = "\n".join([*queries(), *(rule["expr"] for rule in rules())])
    named = set(re.findall(r"\b(?:milepost|process)_\w+", asked))
    assert named - there == set()
    # And the page of the documents names all of them.
    families = set(re.findall(r"^# TYPE (milepost_\S+)", text, re.MULTILINE))
    assert {name for name in families if f"`{name}`" not in DOCS} == set()


def test_a_scrape_is_as_prometheus_wants_it(fleet: Fleet) -> None:
    said = promtool("check", "metrics", stdin=fleet.scrape())
    assert "error" not in said
