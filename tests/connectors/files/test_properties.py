"""Random tables in every format and compression, read with any stop, are the same row by row."""

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.connectors.files.reading import assert_resumes
from tests.connectors.files.writing import WRITTEN, written

# Without surrogates, which no encoding has; and never empty, which CSV cannot tell from nothing.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
ROWS = st.lists(
    st.fixed_dictionaries({"id": st.integers(-(2**63), 2**63 - 1), "text": TEXT}), max_size=25
)


@settings(max_examples=60, deadline=None)
@given(
    files=st.lists(st.tuples(ROWS, st.sampled_from(WRITTEN)), min_size=1, max_size=3),
    size=st.integers(1, 30),
)
async def test_what_was_written_is_read_whatever_stopped_it(
    files: list[tuple[list[dict[str, Any]], str]], size: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, (rows, ending) in enumerate(files):
            (Path(folder) / f"{number}.{ending}").write_bytes(written(rows, ending))
        # The text of a CSV field that is a number as well is read as one.
        read = await assert_resumes(
            f"{folder}/*", page_size=size, encoding="utf-8", delimiter=",", quote='"'
        )
    expected = [row for rows, _ in files for row in rows]
    assert [_plain(row) for row in read] == [_plain(row) for row in expected]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    text = row["text"]
    return {"id": row["id"], "text": text if isinstance(text, str) else json.dumps(text)}
