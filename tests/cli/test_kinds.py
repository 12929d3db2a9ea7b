"""`milepost sources`: the kinds there are, and what of a source works."""

import json
from pathlib import Path

from tests.cli.commands import lines, milepost


def test_the_kinds_are_listed_with_their_fields(tmp_path: Path) -> None:
    listed = {
        each["kind"]: each["fields"]
        for each in lines(milepost(tmp_path, "sources", "list", "--json"))
    }
    assert listed.keys() >= {"http", "file", "sql", "singer", "airbyte", "dlt", "connection"}
    assert {"url", "budget", "page_size"} <= set(listed["http"])
    assert not any(name.startswith("_") for fields in listed.values() for name in fields)
    assert "page_size" in milepost(tmp_path, "sources", "list").stdout


def test_the_schema_of_a_kind_is_json_and_an_unknown_kind_names_those_there_are(
    tmp_path: Path,
) -> None:
    made = json.loads(milepost(tmp_path, "sources", "schema", "sql").stdout)
    assert "incremental" in made["properties"]
    wrong = milepost(tmp_path, "sources", "schema", "nosuch")
    assert wrong.returncode != 0
    assert (
        "no source is of kind 'nosuch'; there are: airbyte, connection, dlt, file" in wrong.stderr
    )


def test_a_source_is_tried_and_nothing_is_stored(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("id,name\n1,Ada\n2,Grace\n")
    said = milepost(tmp_path, "sources", "test", "orders.csv")
    assert said.returncode == 0
    for fact in ("reached        yes", "tables         orders", "2 records on one page"):
        assert fact in said.stdout
    [told] = lines(milepost(tmp_path, "sources", "test", "orders.csv", "--json"))
    assert (told["reached"], told["tables"], told["problem"]) == (True, ["orders"], None)
    assert [path.name for path in tmp_path.iterdir()] == ["orders.csv"]


def test_what_does_not_work_is_said_with_exit_code_1(tmp_path: Path) -> None:
    said = milepost(tmp_path, "sources", "test", "nosuch.csv")
    assert said.returncode == 1
    assert "problem        nosuch.csv: No such file or directory" in said.stdout
