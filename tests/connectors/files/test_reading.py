"""CSV, JSON Lines and JSON: read page by page, resumed after any page, nothing read wrongly."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.connectors.files.values import convert
from milepost.errors import FatalConnectorError
from tests.connectors.files.reading import assert_resumes, pages


async def test_csv_with_line_ends_in_its_fields_resumes_after_every_page(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(
        b'\xef\xbb\xbfid,name,note\r\n1,Ada,"two\r\nlines, and ""quotes"""\r\n2,B\xc3\xa9la,\r\n'
        b'3,Chidi,"a\nb"\r\n4,Dana,true\r\n5,Eve,007\r\n'
    )
    assert await assert_resumes(path, page_size=2) == [
        {"id": 1, "name": "Ada", "note": 'two\r\nlines, and "quotes"'},
        {"id": 2, "name": "Béla", "note": None},
        {"id": 3, "name": "Chidi", "note": "a\nb"},
        {"id": 4, "name": "Dana", "note": True},
        {"id": 5, "name": "Eve", "note": "007"},
    ]


async def test_json_lines_resume_after_every_page(tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    records = [{"id": number, "nested": {"a": [number, None]}} for number in range(7)]
    path.write_text("\n".join(map(json.dumps, records)))
    assert await assert_resumes(path, page_size=3) == records


@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: {"data": rows, "total": 7}])
async def test_json_resumes_after_every_page(tmp_path: Path, wrap: Any) -> None:
    path = tmp_path / "people.json"
    records = [{"id": number} for number in range(7)]
    path.write_text(json.dumps(wrap(records)))
    assert await assert_resumes(path, page_size=3) == records


@pytest.mark.parametrize("name", ["empty.csv", "empty.jsonl"])
async def test_an_empty_file_is_a_complete_pass_of_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("")
    assert await assert_resumes(path) == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "id,name\n1,Ada\n2\n", "line 3"),
        ("a.csv", "id,id\n1,2\n", "two columns are named 'id'"),
        ("a.csv", 'id\n"open\n', "not closed"),
        ("a.jsonl", '{"id": 1}\n{"id": \n', "line 2"),
        ("a.jsonl", "[1]\n", "line 1"),
        ("a.json", '{"x": [{"id": 1}], "y": [{"id": 2}]}', "--records-path"),
        ("a.json", "{", "a.json"),
    ],
)
async def test_what_cannot_be_read_says_where_and_why(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(FatalConnectorError) as caught:
        await pages(path)
    assert said in str(caught.value)


async def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FatalConnectorError, match="nosuch.csv"):
        await pages(tmp_path / "nosuch.csv")


async def test_a_pipe_is_refused_because_it_could_not_be_resumed() -> None:
    reading, writing = os.pipe()
    os.write(writing, b'{"id": 1}\n')
    os.close(writing)
    with pytest.raises(
        FatalConnectorError, match=f"/dev/fd/{reading}: not a regular file"
    ) as caught:
        await pages(Path(f"/dev/fd/{reading}"), format="jsonl")
    assert str(caught.value).endswith("it could not be resumed; save it to a file first")
    os.close(reading)


async def test_a_file_that_was_replaced_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1}\n{"id": 2}\n{"id": 3}\n')
    first, *_ = await pages(path, page_size=2)
    path.write_text('{"id": 9}\n')
    with pytest.raises(FatalConnectorError, match="a.jsonl"):
        await pages(path, after=first.cursor, page_size=2)


async def test_a_name_that_does_not_tell_the_format_needs_the_option(tmp_path: Path) -> None:
    path = tmp_path / "export.txt"
    path.write_text("id\n1\n")
    with pytest.raises(FatalConnectorError, match="--format"):
        await pages(path)
    [page] = await pages(path, format="csv")
    assert page.records == [{"id": 1}]


@given(st.text() | st.integers().map(str) | st.floats().map(str))
def test_a_converted_value_turns_back_into_its_text(text: str) -> None:
    value = convert(text)
    match value:
        case None:
            assert text == ""
        case bool():
            assert str(value).lower() == text
        case float():
            assert repr(value) == text
        case _:
            assert str(value) == text
