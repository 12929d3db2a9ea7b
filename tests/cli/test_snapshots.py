"""`milepost snapshots`, as a person types it."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from sqlalchemy import text
from typer.testing import CliRunner, Result

from milepost import open_database
from milepost.cli.main import app
from milepost.snapshots import TableSpec, begin_pass, write_page
from tests.snapshots.destinations import MORNING

Run = Callable[..., Result]

BEFORE = "id,name,price\n1,a,1.5\n2,b,2\n3,c,\n"
AFTER = 'id,name,price\n1,a,1.5\n2,b,7\n4,"d, e",3\n'


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `milepost snapshots` in a folder of its own, in this process."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "MILEPOST_SECRET_KEY", "MILEPOST_SECRET_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)

    def run_(*arguments: str, stdin: str | None = None, **env: str) -> Result:
        return CliRunner(env=env).invoke(app, ["snapshots", *arguments], input=stdin)

    return run_


@pytest.fixture
def shop(run: Run, tmp_path: Path) -> Run:
    """One that was synced twice, with a change in between."""
    (tmp_path / "orders.csv").write_text(BEFORE)
    created = run("create", "shop", "orders.csv", "--into", "shop.db", "--history")
    assert created.exit_code == 0, created.output
    assert run("sync", "shop").exit_code == 0
    (tmp_path / "orders.csv").write_text(AFTER)
    again = run("sync", "shop")
    assert again.exit_code == 0, again.output
    assert "1 new, 1 changed, 1 unchanged, 1 gone at the source" in again.output
    return run


def said(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


def test_what_is_there_is_shown(shop: Run, tmp_path: Path) -> None:
    assert "completed" in shop("list").output
    [listed] = said(shop("list", "--json"))
    assert (listed["source"], listed["into"]) == ("file", str(tmp_path / "shop.db"))

    table, job = said(shop("show", "shop", "--json"))
    assert (table["rows"], table["deleted"], job["state"]) == (4, 1, "completed")
    assert [column["kind"] for column in table["columns"]] == ["integer", "text", "float"]
    assert table["passes"][0]["counts"]["updated"] == 1
    assert "orders: 4 rows, 1 of them gone at the source" in shop("show", "shop").output

    assert [row["id"] for row in said(shop("rows", "shop", "orders", "--json"))] == [1, 2, 4]
    every = said(shop("rows", "shop", "orders", "--json", "--deleted", "--limit", "3"))
    assert [row["id"] for row in every] == [1, 2, 3]


def test_what_has_changed_is_told_with_what_was_before(shop: Run) -> None:
    changes = said(shop("diff", "shop", "orders", "--json"))

    assert [(each["what"], each["record"]["id"]) for each in changes] == [
        ("changed", 2), ("gone", 3), ("new", 4)
    ]  # fmt: skip
    assert changes[0]["before"] == {"id": 2, "name": "b", "price": 2.0}
    assert "price: 2.0 → 7.0" in shop("diff", "shop", "orders").output
    since_ever = said(shop("diff", "shop", "orders", "--since", "1", "--json"))
    assert [(each["what"], each["record"]["id"]) for each in since_ever] == [
        ("new", 1), ("new", 2), ("new", 4)
    ]  # fmt: skip
    none = shop("diff", "shop", "orders", "--since", "7")
    assert (none.exit_code, "has no pass 7; it has: 1, 2" in none.output) == (1, True)


def test_a_table_is_exported_whole(shop: Run, tmp_path: Path) -> None:
    shop("export", "shop", "orders", "o.csv")
    assert (tmp_path / "o.csv").read_text().splitlines() == [
        "id,name,price", "1,a,1.5", "2,b,7.0", '4,"d, e",3.0'
    ]  # fmt: skip
    shop("export", "shop", "orders", "o.jsonl.gz")
    lines = gzip.decompress((tmp_path / "o.jsonl.gz").read_bytes()).decode().splitlines()
    assert json.loads(lines[2]) == {"id": 4, "name": "d, e", "price": 3.0}
    done = shop("export", "shop", "orders", "o.parquet", "--deleted")
    assert done.output == "4 rows are in o.parquet\n"
    assert parquet.read_table(tmp_path / "o.parquet").to_pylist()[2] == {
        "id": 3, "name": "c", "price": None, "_milepost_misfits": None
    }  # fmt: skip
    assert sorted(each.name for each in tmp_path.glob("*o.*")) == [
        "o.csv", "o.jsonl.gz", "o.parquet"
    ]  # fmt: skip

    refused = shop("export", "shop", "orders", "o.xlsx")
    assert (refused.exit_code, "let it end in .csv" in refused.output) == (2, True)


def test_a_table_that_is_being_filled_is_filled_by_one_job(run: Run, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(BEFORE)
    for name in ("shop", "twin"):
        run("create", name, "orders.csv", "--into", "shop.db")
    [first] = said(run("sync", "shop", "--no-wait", "--json"))
    [second] = said(run("sync", "twin", "--no-wait", "--json"))

    assert first == second
    assert "which has not ended yet" in run("sync", "shop", "--no-wait").output


def test_only_some_tables(run: Run, tmp_path: Path) -> None:
    for name in ("orders", "customers"):
        (tmp_path / f"{name}.csv").write_text(BEFORE)
    run("create", "shop", "*.csv", "--into", "shop.db")
    unknown = run("sync", "shop", "--table", "order")
    assert unknown.exit_code == 2
    assert "the snapshot 'shop' has no table 'order'; it has: " in unknown.output


def test_records_in_quarantine_are_shown_and_tried_again(shop: Run, tmp_path: Path) -> None:
    assert shop("quarantine", "shop", "orders").output == "nothing is in quarantine\n"
    database = open_database(str(tmp_path / "shop.db"))
    with database.begin() as conn:
        table = TableSpec("orders", ("id",))
        number = begin_pass(conn, table)
        page = [{"name": "no key"}]
        write_page(conn, table, page, pass_number=number, synced_at=MORNING, quarantine_limit=1)
    shown = shop("quarantine", "shop", "orders").output
    assert "pass 3, record 1, field 'id': the key is missing" in shown
    assert "1 records in quarantine" in shop("show", "shop").output
    replayed = shop("quarantine", "shop", "orders", "--replay")
    assert replayed.output == "0 stored, 0 superseded by newer versions, 1 left\n"
    with database.begin() as conn:
        conn.execute(text("UPDATE milepost_quarantine SET record = '{\"id\": 9}'"))
    database.close()
    assert "1 stored" in shop("quarantine", "shop", "orders", "--replay").output


def test_it_is_forgotten_and_its_tables_stay_unless_they_are_dropped(
    shop: Run, tmp_path: Path
) -> None:
    unanswered = shop("rm", "shop", stdin="")
    assert (unanswered.exit_code, "say --yes" in unanswered.output) == (2, True)
    assert shop("rm", "shop", "--yes").output == "shop is forgotten\n"
    assert shop("list").output == "no snapshots\n"

    shop("create", "shop", "orders.csv", "--into", "shop.db", "--history")
    assert "id" in shop("rows", "shop", "orders").output
    gone = shop("rm", "shop", "--yes", "--drop-tables")
    assert gone.output == "shop is forgotten; dropped: orders\n"
    database = open_database(str(tmp_path / "shop.db"))
    with database.read() as conn:
        left = conn.execute(text("SELECT name FROM sqlite_master WHERE name LIKE 'orders%'"))
        assert left.all() == []
    database.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "shop"], "there is no snapshot 'shop'; there are: none"),
        (["create", "a b", "o.csv", "--into", "x.db"], "'a b' cannot name a snapshot"),
        (["create", "s", "http://u:pw@x/o", "--into", "x.db"], "a snapshot stores no secrets"),
        (
            ["create", "s", "o.csv", "--into", "postgresql://u:pw@h/d"],
            "a snapshot stores no secrets, and here are INTO_PASSWORD",
        ),
        (["create", "s", "o.csv", "--into", "no/x.db"], "a file in a folder that exists"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_do(
    run: Run, arguments: list[str], said: str
) -> None:
    refused = run(*arguments)

    assert refused.exit_code == 2, refused.output
    assert said in refused.output
    assert "pw" not in refused.output


def test_a_name_is_taken_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(BEFORE)
    new = ("create", "shop", "orders.csv", "--into", "shop.db")
    assert run(*new).exit_code == 0
    again = run(*new)
    assert (again.exit_code, "--replace describes it anew" in again.output) == (2, True)
    assert run(*new, "--replace").exit_code == 0
