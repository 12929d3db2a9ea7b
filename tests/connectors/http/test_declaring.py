"""A source in a file: what it says, and in which line it is wrong."""

import json
from pathlib import Path

import pytest

from milepost.connectors import HttpSource, schema_of, source_from
from milepost.errors import FatalConnectorError

GOOD = """\
url: https://api.example.com/v2
auth: {type: bearer, token: $TOKEN}
budget: {requests: 100, per: 1m}
page_size: 50
tables:
  issues:
    path: issues?state=all
    key: [number]
    incremental: {field: updated_at, param: since, look_back: 1h}
  comments:
    parent: issues
    path: issues/{number}/comments
    parent_fields: [number]
"""
SAME_IN_TOML = """\
url = "https://api.example.com/v2"
auth = {type = "bearer", token = "$TOKEN"}
budget = {requests = 100, per = "1m"}
page_size = 50

[tables.issues]
path = "issues?state=all"
key = ["number"]
incremental = {field = "updated_at", param = "since", look_back = "1h"}

[tables.comments]
parent = "issues"
path = "issues/{number}/comments"
parent_fields = ["number"]
"""
ROOT = Path(__file__).parents[3]


def written(tmp_path: Path, text: str, name: str = "source.yaml") -> str:
    path = tmp_path / name
    path.write_text(text)
    return f"rest:{path}"


def test_yaml_toml_and_json_say_the_same(tmp_path: Path) -> None:
    read = [
        source_from(written(tmp_path, GOOD)),
        source_from(written(tmp_path, SAME_IN_TOML, "source.toml")),
    ]
    as_json = json.dumps(
        {
            "url": "https://api.example.com/v2",
            "auth": {"type": "bearer", "token": "$TOKEN"},
            "budget": {"requests": 100, "per": 60},
            "page_size": 50,
            "tables": {
                "issues": {
                    "path": "issues?state=all", "key": ["number"],
                    "incremental": {"field": "updated_at", "param": "since", "look_back": 3600},
                },
                "comments": {
                    "parent": "issues", "path": "issues/{number}/comments",
                    "parent_fields": ["number"],
                },
            },
        }
    )  # fmt: skip
    read.append(source_from(written(tmp_path, as_json, "source.json")))
    assert read[0] == read[1] == read[2]
    assert isinstance(read[0], HttpSource)
    assert read[0].table("issues").page_size == 50


def test_of_its_tables_some_may_be_chosen_and_parents_are_known_all_the_same(
    tmp_path: Path,
) -> None:
    source = source_from(written(tmp_path, GOOD), tables=["comments"])
    assert isinstance(source, HttpSource)
    assert (source.only, list(source.tables)) == (("comments",), ["issues", "comments"])
    with pytest.raises(FatalConnectorError, match="no table 'nothing'; it has issues, comments"):
        source_from(written(tmp_path, GOOD), tables=["nothing"])


@pytest.mark.parametrize(
    ("change", "line", "said"),
    [
        (("page_size: 50", "page_size: none"), 4, "page_size: Input should be a valid integer"),
        (("page_size", "pagesize"), 4, "pagesize: Unexpected keyword argument"),
        (("type: bearer", "type: bear"), 2, "auth: Input tag 'bear'"),
        (("$TOKEN", "hunter2"), 2, "auth: token holds a secret in plain text"),
        (("look_back: 1h", "look_back: soon"), 9, "tables.issues.incremental.look_back: "),
        (
            ("    parent: issues", "    parent: none"),
            1,
            "there is no table 'none' to be its parent",
        ),
        (("field: updated_at, ", ""), 9, "tables.issues.incremental.field: Field required"),
        (("url: https", "url: ftp"), 1, "url must begin with http:// or https://"),
    ],
)
@pytest.mark.parametrize("toml", [False, True])
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, change: tuple[str, str], line: int, said: str, toml: bool
) -> None:
    text, before, after = GOOD, *change
    if toml:
        text, before, after = SAME_IN_TOML, before.replace(": ", " = "), after.replace(": ", " = ")
        for plain in ("bearer", "bear", "none", "1h", "soon", "updated_at", "issues"):
            after = after.replace(f"= {plain}", f'= "{plain}"')
            before = before.replace(f"= {plain}", f'= "{plain}"')
        before, after = (
            before.replace("= https", '= "https').strip(),
            after.replace("= ftp", '= "ftp').strip(),
        )
        line = {1: 1, 2: 2, 4: 4, 9: 9}[line]
    assert text.count(before) == 1, before
    name = "source.toml" if toml else "source.yaml"
    with pytest.raises(FatalConnectorError) as refused:
        source_from(written(tmp_path, text.replace(before, after), name))
    assert f"{name}, line {line}: " in str(refused.value)
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("url: [", "line 1: not YAML"),
        ("- a\n- b\n", "a source is described by its fields"),
        ("", "a source is described by its fields"),
    ],
)
def test_a_file_that_describes_nothing_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(FatalConnectorError, match=said):
        source_from(written(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FatalConnectorError, match=r"none\.yaml: No such file"):
        source_from(f"rest:{tmp_path}/none.yaml")


def test_the_schema_for_editors_is_the_one_in_the_docs() -> None:
    kept = (ROOT / "docs/sources/http.schema.json").read_text()
    assert kept == json.dumps(schema_of("http"), indent=2) + "\n", (
        "`milepost sources schema http` writes it anew"
    )
