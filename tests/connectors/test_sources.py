"""What may stand in a source, and what a person's words for it mean."""

import pytest

from milepost.connectors import source_from
from milepost.connectors.sources import HttpSource
from milepost.errors import FatalConnectorError


@pytest.mark.parametrize(
    ("tables", "name"),
    [(["a/page", "b/page"], "page"), (["page", "page=link"], "page"), (["x=a", "x=b"], "x")],
)
def test_two_tables_of_one_name_are_refused(tables: list[str], name: str) -> None:
    with pytest.raises(FatalConnectorError, match=f"two tables are named '{name}': write NAME="):
        source_from("http://h/v1", tables=tables)


def test_tables_are_named_by_their_paths_or_as_asked() -> None:
    source = source_from("http://h/v1", tables=["a/page", "other=b/page", "c/"])
    assert isinstance(source, HttpSource)
    assert source.tables == {"page": "a/page", "other": "b/page", "c": "c/"}
