"""What a run says, as pages and errors; what it is told, and who may read that."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from milepost.connectors import Table
from milepost.errors import (
    AuthenticationRefused,
    ConnectorError,
    FatalConnectorError,
    RetryableConnectorError,
)
from tests.connectors.airbyte.conftest import Replay, ended, error, orders, record, state

WHOLE = ended("COMPLETE")


async def test_a_page_ends_at_a_state_and_the_last_one_begins_the_next_pass(
    replay: Replay,
) -> None:
    said = [record(1), state({"at": 1}), record(2), state({"at": 2}), record(3), WHOLE]
    pages, failure = await replay.pages(*said, state({"at": 3}))
    assert failure is None
    assert [[each["id"] for each in page.records] for page in pages] == [[1, 2], [3]]
    two, three = [{"airbyte": 1, "state": {"at": place}} for place in (2, 3)]
    assert [(page.cursor, page.last, page.bookmark) for page in pages] == [
        (two, False, None), (three, True, three)
    ]  # fmt: skip
    await replay.pages(WHOLE, after=pages[0].cursor)
    told = replay.runs()[-1]["files"]
    assert told["--state"]["holds"] == [state({"at": 2})["state"]]
    assert told["--catalog"]["holds"]["streams"] == [
        {
            "stream": orders(), "sync_mode": "incremental", "destination_sync_mode": "append",
            "cursor_field": [], "primary_key": [],
        }
    ]  # fmt: skip


async def test_a_stream_without_places_is_read_from_its_beginning_each_time(
    replay: Replay,
) -> None:
    replay.streams = [orders(supported_sync_modes=["full_refresh"])]
    said = [*map(record, range(9)), WHOLE, state({"__ab_no_cursor_state_message": True})]
    pages, _ = await replay.pages(*said)
    # Without a STATE at 4 times the size, so that it is not kept in memory as a whole.
    assert [len(page.records) for page in pages] == [8, 1]
    assert [(page.cursor, page.bookmark) for page in pages] == [(None, None)] * 2


async def test_states_and_ends_of_other_streams_are_theirs(replay: Replay) -> None:
    said = [record(1), record(2, "parents"), state({"at": 9}, "parents"), ended("COMPLETE", "x")]
    pages, failure = await replay.pages(*said)
    assert pages == []
    assert isinstance(failure, RetryableConnectorError)
    assert "without having read orders in whole" in str(failure)


async def test_what_came_before_an_error_up_to_a_state_is_kept_and_nothing_after_it(
    replay: Replay,
) -> None:
    said = [record(1), state({"at": 1}), error("HTTP Status Code: 500.", "transient_error")]
    pages, failure = await replay.pages(*said, state({"at": 5}), WHOLE, code=1)
    assert [(len(page.records), page.cursor["state"], page.last) for page in pages] == [
        (1, {"at": 1}, False)
    ]
    assert isinstance(failure, RetryableConnectorError)
    # There is nothing to keep where there is no place, or no new one.
    for nothing in ([record(1)], []):
        assert (await replay.pages(*nothing, error("gone", "transient_error")))[0] == []


@pytest.mark.parametrize("status", ["INCOMPLETE", "STARTED"])
async def test_a_stream_that_is_not_complete_marks_nothing_as_gone(
    replay: Replay, status: str
) -> None:
    pages, failure = await replay.pages(ended("RUNNING"), ended(status))
    assert pages == []
    assert isinstance(failure, RetryableConnectorError)


@pytest.mark.parametrize(
    ("said", "kind", "shown"),
    [
        (error("HTTP Status Code: 401. Error: x", "config_error"), AuthenticationRefused, "401"),
        (error("no", "system_error", "Response: invalid_grant"), AuthenticationRefused, "grant"),
        (error("Config validation error", "config_error"), FatalConnectorError, "validation"),
        (error("Error starting the sync. Bad manifest"), FatalConnectorError, "Bad manifest"),
        (error("x", "system_error", "status code '404'"), FatalConnectorError, "404"),
        (error("y", "system_error", "Unable to find spec.yaml"), FatalConnectorError, "no spec"),
        (error("KeyError: 429", "system_error"), RetryableConnectorError, "KeyError"),
        (error("x", "transient_error", "status code '401'"), RetryableConnectorError, "401"),
    ],
)
async def test_an_error_says_what_is_to_be_done(
    replay: Replay, said: Any, kind: type[ConnectorError], shown: str
) -> None:
    _, failure = await replay.pages(said, code=1)
    assert type(failure) is kind
    assert shown in str(failure)
    assert str(replay.manifest) in str(failure)


async def test_a_source_that_says_too_many_is_put_off(replay: Replay) -> None:
    said = error("API rate limit exceeded.", "transient_error", "headers: {'Retry-After': '7'}")
    _, failure = await replay.pages(said, code=1)
    assert isinstance(failure, RetryableConnectorError)
    assert failure.retry_after == timedelta(seconds=7)


async def test_a_run_that_dies_is_begun_again_and_its_last_words_are_told(replay: Replay) -> None:
    _, failure = await replay.pages({"type": "LOG", "log": {"message": "I am ill"}}, code=1)
    assert isinstance(failure, RetryableConnectorError)
    assert "ended with exit code 1: INFO I am ill" in str(failure)


async def test_what_is_no_message_is_for_people_and_secrets_are_hidden(replay: Replay) -> None:
    replay.environment = {"TOKEN": "open sesame"}
    log = {"type": "LOG", "log": {"level": "WARN", "message": "used open sesame"}}
    control = {"type": "CONTROL", "control": {"type": "CONNECTOR_CONFIG"}}
    refused = error("open sesame is wrong", "config_error")
    said = [log, "Traceback: open sesame", "7", control, {"type": "OTHER"}, "", refused]
    _, failure = await replay.pages(*said, config={"token": "$TOKEN"})
    first, *rest, last = replay.log
    assert [first, *rest] == ["WARN used $TOKEN", "Traceback: $TOKEN", "7"]
    assert "refresh token" in last
    assert "$TOKEN is wrong" in str(failure)
    # It was told, by files that are no more.
    for run in replay.runs():
        assert run["files"]["--config"] == {"mode": "0o600", "holds": {"token": "open sesame"}}
        assert "milepost-run-" in run["environment"]["TMPDIR"]
        assert not is_there(run["environment"]["TMPDIR"])
        assert "TOKEN" not in run["environment"]


def is_there(path: str) -> bool:
    return Path(path).exists()


async def test_a_place_that_holds_a_secret_is_stored_without_it(replay: Replay) -> None:
    replay.environment = {"SHOP": "ann's shop"}
    config = {"shop": "$SHOP"}
    pages, _ = await replay.pages(state({"of": "ann's shop"}), WHOLE, config=config)
    assert pages[-1].bookmark == {"airbyte": 1, "state": {"of": "${SHOP}"}}
    await replay.pages(WHOLE, after=pages[-1].bookmark, config=config)
    [told] = replay.runs()[-1]["files"]["--state"]["holds"]
    assert told["stream"]["stream_state"] == {"of": "ann's shop"}


async def test_components_are_run_only_where_they_are_named(replay: Replay, tmp_path: Path) -> None:
    components = tmp_path / "components.py"
    components.touch()
    await replay.pages(WHOLE, components=str(components))
    await replay.pages(WHOLE)
    *_, discovered, read = replay.runs()[1:]
    named = replay.runs()[1]
    assert ["--components-path", str(components)] == named["arguments"][2:4]
    assert named["environment"]["AIRBYTE_ENABLE_UNSAFE_CODE"] == "true"
    for run in (discovered, read):
        assert "AIRBYTE_ENABLE_UNSAFE_CODE" not in run["environment"]


@pytest.mark.parametrize(
    ("paths", "key"),
    [([["a"], ["b"]], ("a", "b")), ([["a", "b"]], ()), ([], ()), (None, ())],
)
async def test_a_key_is_of_fields_of_the_record_itself(
    replay: Replay, paths: Any, key: tuple[str, ...]
) -> None:
    replay.streams = [orders(source_defined_primary_key=paths)]
    await replay.pages(WHOLE)
    assert await replay.open().tables() == [Table("orders", key)]


@pytest.mark.parametrize("streams", [[{}], [orders(), orders()], ["orders"]])
async def test_a_catalog_without_names_is_refused(replay: Replay, streams: Any) -> None:
    replay.streams = streams
    _, failure = await replay.pages(WHOLE)
    assert isinstance(failure, FatalConnectorError)
    assert "a stream has no name, or one that another has" in str(failure)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tables": ["nosuch"]}, "has no stream 'nosuch'; it has: orders"),
        ({"components": "/nosuch.py"}, "/nosuch.py: No such file"),
        ({"config": "/nosuch.json"}, "/nosuch.json: No such file"),
        ({"venv": "/nosuch"}, "/nosuch/bin/source-declarative-manifest is no program"),
        ({"config": {"api_key": "plain"}}, "holds a secret in plain text"),
        ({"package": "airbyte-cdk"}, "leave out one"),
        ({"manifest": ""}, "path of a YAML file"),
    ],
)
async def test_what_can_never_work_is_refused(replay: Replay, options: Any, said: str) -> None:
    with pytest.raises(FatalConnectorError, match=said):
        raise (await replay.pages(WHOLE, **options))[1] or AssertionError("it was not refused")


async def test_a_manifest_that_is_not_there_is_named(replay: Replay) -> None:
    replay.manifest.unlink()
    _, failure = await replay.pages(WHOLE)
    assert isinstance(failure, FatalConnectorError)
    assert str(failure) == f"{replay.manifest}: No such file or directory"
