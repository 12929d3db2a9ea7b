"""Secrets reach the tap, and nobody else; its files are for its user only, and do not stay."""

import json
from pathlib import Path
from typing import Any

import pytest

from milepost.connectors import dump_source, source_from
from milepost.errors import FatalConnectorError
from tests.connectors.singer.conftest import Tap


async def test_what_stands_behind_a_name_reaches_the_tap_and_is_hidden_in_its_log(tap: Tap) -> None:
    tap.config |= {"token": "$TOKEN", "deep": [{"password": "x-${TOKEN}"}]}
    tap.environment = {"TOKEN": "open sesame"}
    await tap.pages()
    assert tap.log == ["INFO running with $TOKEN"] * 2
    source = source_from(tap.address, config=tap.config)
    assert "open sesame" not in json.dumps(dump_source(source))


async def test_a_state_that_holds_a_secret_is_stored_without_it(tap: Tap) -> None:
    tap.environment = {"SHOP": "ann's shop"}
    tap.config["streams"] = {"$SHOP": {"count": 0}}
    after = {"singer": 1, "state": {"as": "${SHOP}", "price": "5 $$"}}
    tap.config["token"] = "$SHOP"
    [page] = await tap.pages("orders", after, discover=False, tables=["orders"])
    assert page.cursor["state"] == {
        "as": "${SHOP}", "price": "5 $$", "bookmarks": {"$SHOP": {"id": 0}}
    }  # fmt: skip


async def test_the_worker_keeps_its_own_variables(
    tap: Tap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://ann:secret@h/d")
    tap.environment = {"KEY": "k-1234"}
    await tap.pages(environment={"AWS_KEY": "$KEY"})
    [run, _] = tap.runs()
    assert run["environment"]["AWS_KEY"] == "k-1234"
    assert "PATH" in run["environment"]
    assert "DATABASE_URL" not in run["environment"]


async def test_files_are_for_the_user_only_and_are_removed(tap: Tap) -> None:
    *_, last = await tap.pages()
    await tap.pages(after=last.cursor)
    for run in tap.runs():
        assert set(run["modes"].values()) == {"600"}
        for each in run["arguments"]:
            assert not (each.startswith("/") and Path(each).parent.exists())
    assert set(tap.runs()[-1]["modes"]) == {"--config", "--catalog", "--state"}


@pytest.mark.parametrize(
    "options",
    [
        {"config": {"api_key": "plain"}},
        {"config": {"auth": {"type": "basic", "password": ["plain"]}}},
        {"config": {"accounts": [{"client_secret": "plain"}]}},
        {"environment": {"AWS_SECRET_ACCESS_KEY": "plain", "X_TOKEN": "plain"}},
    ],
)
def test_a_secret_in_plain_text_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(FatalConnectorError, match="holds a secret in plain text") as caught:
        source_from("singer:tap-x", **options)
    assert "'plain'" not in str(caught.value)


async def test_a_config_file_is_taken_as_it_is_and_its_secrets_are_hidden(
    tap: Tap, tmp_path: Path
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**tap.config, "token": "pa$$word $HOME"}))
    await tap.pages(config=str(path))
    assert tap.log == ["INFO running with $CONFIG"] * 2
    with pytest.raises(FatalConnectorError, match="nosuch.json"):
        await tap.pages(config=str(tmp_path / "nosuch.json"))


@pytest.mark.parametrize(
    ("address", "options", "said"),
    [
        ("singer:", {}, "a program's name or path"),
        ("singer:tap-x", {"venv": "a", "package": "b"}, "leave out one"),
        ("singer:./tap-x", {"venv": "a"}, "is the name of a program"),
        ("singer:tap-x", {"package": "--index-url=http://h tap-x"}, "what pip installs"),
        ("singer:tap-x", {"package": "tap-x --pre"}, "what pip installs"),
        ("singer:tap-x", {"discover": False}, "the tables must be named"),
        ("singer:tap-x", {"catalogue": "x"}, "catalogue"),
    ],
)
def test_what_can_never_work_is_refused(address: str, options: Any, said: str) -> None:
    with pytest.raises(FatalConnectorError, match=said):
        source_from(address, **options)
