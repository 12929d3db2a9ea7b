"""How a CSV file is written: found, told, set; and nothing garbled in silence."""

from pathlib import Path
from typing import Any

import pytest

from milepost.errors import FatalConnectorError
from tests.connectors.files.reading import assert_resumes, opened, pages, records, stored


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id;text\n1;a,b\n2;c,d\n", {"id": 1, "text": "a,b"}),
        ("a,x;b\n1,5;2\n1,7;3\n", {"a,x": "1,5", "b": 2}),
        ("id\ttext\n1\ta\n", {"id": 1, "text": "a"}),
        ("id|text\n1|a;b\n", {"id": 1, "text": "a;b"}),
        ("'id';'text'\n'1';'it''s'\n", {"id": 1, "text": "it's"}),
        ("id,text\n1,'tis\n", {"id": 1, "text": "'tis"}),
        ('id,text\n1,"say \\"hi\\", she said"\n', {"id": 1, "text": 'say "hi", she said'}),
        ('id,text\n1,"C:\\"\n2,"b"\n', {"id": 1, "text": "C:\\"}),
        ("id\nword\n", {"id": "word"}),
    ],
)
async def test_the_dialect_is_found(text: str, expected: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(text.replace("a,x;b\n1,5", "a,x;b\n1,5").encode())
    options = {"delimiter": ";"} if "a,x" in text else {}
    assert (await records(path, **options))[0] == expected


async def test_the_dialect_can_be_set(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('a:b\n1:"2\n')
    assert await records(path, delimiter=":", quote="") == [{"a": 1, "b": '"2'}]
    path.write_text("a,b\n1,~x\\,y~\n")
    assert await records(path, quote="~", escape="\\") == [{"a": 1, "b": "x,y"}]


async def test_a_header_is_missed_only_if_somebody_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("1,a\n2,b\n3,c\n")
    assert (await records(path))[0] == {"1": 2, "a": "b"}
    read = await assert_resumes(path, header=False, page_size=1)
    assert read[0] == {"column_1": 1, "column_2": "a"}
    assert len(read) == 3
    named = await assert_resumes(path, header=False, column_names=["id", "x"], page_size=1)
    assert named[2] == {"id": 3, "x": "c"}


TEXT = "id,text\n" + "".join(f"{number},Müller – „Straße“ {number}\n" for number in range(9))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
async def test_the_encoding_is_found_and_it_resumes(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(TEXT.encode(encoding))
    read = await assert_resumes(path, page_size=2)
    assert read[8] == {"id": 8, "text": "Müller – „Straße“ 8"}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "cp1250", "latin-1", "utf-32"])
async def test_the_encoding_can_be_set(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("id,text\n1,äöü ß\n2,\u0a0a\n".replace("\u0a0a", "x").encode(encoding))
    assert (await assert_resumes(path, encoding=encoding, page_size=1))[0]["text"] == "äöü ß"


async def test_a_character_that_has_a_line_end_in_its_bytes_ends_no_line(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("id,text\n1,\u0a0a\u0d0a\n2,x\n".encode("utf-16"))
    assert (await assert_resumes(path, page_size=1))[0] == {"id": 1, "text": "\u0a0a\u0d0a"}


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Привет, мир", "cp1251"), ("Привет, мир", "koi8-r"), ("Καλημέρα κόσμε", "cp1253"),
        ("Zażółć gęślą jaźń", "cp1250"), ("Příliš žluťoučký kůň", "cp1250"), ("日本語", "shift_jis"),
        ("Łódź", "cp1250"), ("Gdańsk", "cp1250"), ("Győr, Erdős", "cp1250"), ("Iaşi", "cp1250"),
        ("Dvořák", "cp1250"), ("Şişli ığdır", "cp1254"), ("Müller", "cp437"), ("שלום", "cp1255"), ("日本語です", "gb18030"),
    ],
)  # fmt: skip
async def test_an_encoding_that_nobody_can_tell_is_asked_for(
    text: str, encoding: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(f"id;text\n1;{text}\n".encode(encoding))
    with pytest.raises(FatalConnectorError, match="not look like cp1252 either.*--option encoding"):
        await pages(path)
    assert await records(path, encoding=encoding) == [{"id": 1, "text": text}]


@pytest.mark.parametrize(
    "text",
    ["Müller Straße Ärzte", "Hélène François Noël œuvre sûr", "Muñoz García Peña año ¿Qué?",
     "Ångström Björk ÖSTERSUND", "São Paulo, ações, informações", "5 €, 20 °C, „x“ – ‚y‘, £ 5, £5"],
)  # fmt: skip
async def test_western_text_is_read_as_such(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(f"id;text\n1;{text}\n".encode("cp1252"))
    assert await records(path) == [{"id": 1, "text": text}]


async def test_a_guess_is_given_up_where_it_turns_out_wrong(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    lines = [f"{number};Köln\n" for number in range(60_000)]
    lines[50_000] = "50000;Łódź\n"
    path.write_bytes(b"id;text\n" + "".join(lines).encode("cp1250"))
    with pytest.raises(FatalConnectorError, match="line 50002: .*by a guess.*--option encoding"):
        await pages(path)


async def test_bytes_that_come_later_and_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    lines = [f"{number},word\n".encode() for number in range(100_000)]
    lines[80_000] = b"80000,M\xfcller\n"
    path.write_bytes(b"id,text\n" + b"".join(lines))
    with pytest.raises(FatalConnectorError) as caught:
        await pages(path)
    said = str(caught.value)
    assert "line 80002: byte 0xfc at 8 is not utf-8" in said
    assert "--option encoding=" in said


async def test_wide_text_that_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    raw = "id,text\n1,a\n2,b\n".encode("utf-16")
    path.write_bytes(raw.replace("b".encode("utf-16-le"), b"\x00\xdc"))
    with pytest.raises(FatalConnectorError, match="line 3: byte 31 of the file is not utf-16"):
        await pages(path)
    path.write_bytes("id,text\n1,a\n".encode("utf-16") + b"x")
    with pytest.raises(FatalConnectorError, match="not utf-16 .truncated data"):
        await pages(path)


async def test_what_was_found_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(TEXT.replace(",", ";").encode("cp1252"))
    report = await opened(path).test()
    assert f"{path}: cp1252 (a guess, as it is not UTF-8), delimiter ';', quote \"" in report.notes


async def test_what_was_found_holds_for_what_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a;b,c\n1;2,3\n")
    [first, *_] = await pages(path, page_size=1)
    assert first.records == [{"a;b": "1;2", "c": 3}]
    with path.open("a") as file:
        file.write("4;5\n")
    # Read anew from its beginning it would look as if semicolons stood between the fields.
    assert (await records(path))[0] == {"a": 1, "b,c": "2,3"}
    with pytest.raises(FatalConnectorError, match="line 3: 1 fields, but the header has 2"):
        await records(path, stored(first))


async def test_a_row_that_is_written_otherwise_says_how_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('a,b\n1,2\n3,"4"5\n')
    with pytest.raises(FatalConnectorError, match="line 3: .*delimiter ','.*--option"):
        await pages(path)
