"""What may stand in a source, and what a person's words for it mean."""

from typing import Any

import pytest

from milepost.connectors import source_from
from milepost.connectors.http.source import HttpSource
from milepost.errors import FatalConnectorError


@pytest.mark.parametrize(
    ("tables", "name"),
    [(["a/page", "b/page"], "page"), (["page", "page=link"], "page"), (["x=a", "x=b"], "x")],
)
def test_two_tables_of_one_name_are_refused(tables: list[str], name: str) -> None:
    with pytest.raises(FatalConnectorError, match=f"two tables are named '{name}': write NAME="):
        source_from("http://h/v1", tables=tables)


def test_tables_are_named_by_their_paths_or_as_asked() -> None:
    source = source_from("http://h/v1", tables=["a/page", "other=b/page", "c/", "d?x=1"])
    assert isinstance(source, HttpSource)
    assert source.tables == {"page": "a/page", "other": "b/page", "c": "c/", "d": "d?x=1"}


@pytest.mark.parametrize(
    "options",
    [
        {"params": {"key": "plain"}},
        {"headers": {"X-Shopify-Access-Token": "plain"}},
        {"basic_auth": "$USER:plain"},
        {"basic_auth": "plain:"},
        {"tables": ["orders?token=plain"]},
        {"address": "http://h/v1?x=1&X-Amz-Signature=plain"},
        {"address": "http://h/v1?token=%24plain"},
    ],
)
def test_a_secret_in_plain_text_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(FatalConnectorError, match="holds a secret in plain text"):
        source_from(**{"address": "http://h/v1", **options})


@pytest.mark.parametrize(
    "options",
    [
        {"params": {"page_token": "plain", "sort_key": "name", "key": "$KEY"}},
        {"basic_auth": "ann:$PASSWORD"},
        {"basic_auth": "$KEY:"},
        {"address": "http://h/v1?token=$TOKEN&nextToken=plain"},
    ],
)
def test_what_is_no_secret_or_a_reference_may_be_stored(options: dict[str, Any]) -> None:
    source_from(**{"address": "http://h/v1", **options})
