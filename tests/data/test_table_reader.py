"""Tables as text: encodings, separators, quotes, rows and their numbers."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from hf_pneumo.data.table_reader import TableError, TextTable, parse_table, read_table


def parse(text: str | bytes, **options: int) -> TextTable:
    return parse_table(text.encode() if isinstance(text, str) else text, "t.csv", **options)


@pytest.mark.parametrize(
    "raw",
    [
        "name,n\nMüller,1\n".encode(),
        codecs.BOM_UTF8 + "name,n\nMüller,1\n".encode(),
        "name,n\nMüller,1\n".encode("utf-16"),
        codecs.BOM_UTF16_BE + "name,n\nMüller,1\n".encode("utf-16-be"),
        "name,n\nMüller,1\n".encode("utf-16-le"),
        "name,n\nMüller,1\n".encode("utf-16-be"),
        "name,n\nMüller,1\n".encode("utf-32"),
        "name,n\nMüller,1\n".encode("cp1252"),
        codecs.BOM_UTF8 + "name,n\nMüller,1\n".encode("cp1252"),
        "name,n\r\nMüller,1\r\n".encode(),
        "name,n\rMüller,1\r".encode(),
        "\n \nname,n\n\nMüller,1".encode(),
    ],
)
def test_encodings_and_line_ends(raw: bytes) -> None:
    table = parse(raw)
    assert (table.header, table.rows) == (("name", "n"), (("Müller", "1"),))


def test_a_byte_without_a_character_in_windows_1252_is_read() -> None:
    assert parse(b"name\nM\x81\xfc\n").rows == (("M\x81ü",),)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators(separator: str) -> None:
    text = 'image,label,note\n0.png,0,"a , b ; c"\n1.png,1,A\n'.replace(",", separator)
    assert parse(text).rows == (("0.png", "0", f"a {separator} b ; c"), ("1.png", "1", "A"))
    assert parse(text.encode("utf-16")).separator == separator


@pytest.mark.parametrize(
    ("text", "header", "rows"),
    [
        ("id;Finding, other\n1;x\n2;y\n", ("id", "Finding, other"), (("1", "x"), ("2", "y"))),
        ("id;value\n1;1,5\n2;2,5\n", ("id", "value"), (("1", "1,5"), ("2", "2,5"))),
        ("image,labels\na.png,Mass|Edema\n", ("image", "labels"), (("a.png", "Mass|Edema"),)),
        ("sep=;\nid;value\n1;2\n", ("id", "value"), (("1", "2"),)),
        ("report\nNo effusion, no edema.\nClear\n", ("report",), (("No effusion, no edema.",), ("Clear",))),
        ('id, report\n1, "Clear, no edema"\n', ("id", "report"), (("1", "Clear, no edema"),)),
        ('a,b\n"x ""y""\nz",2\n', ("a", "b"), (('x "y"\nz', "2"),)),
        ("a,b,\n1,2,\n", ("a", "b", ""), (("1", "2", ""),)),
        ("a,b\n1,2,,\n3\n", ("a", "b"), (("1", "2"), ("3", ""))),
    ],
)
def test_forms(text: str, header: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> None:
    table = parse(text)
    assert (table.header, table.rows, table.malformed) == (header, rows, {})


def test_a_cell_stays_the_text_it_is() -> None:
    cells = ["0007", "7", "12e3", "1200e1", "2.10", "2.1", "N/A", "None", "nan", " 1 ", "1,000", "TRUE", "", "１"]
    out = io.StringIO()
    csv.writer(out).writerows([["id", "n"], *([cell, str(n)] for n, cell in enumerate(cells))])
    table = parse(out.getvalue())
    assert [row[0] for row in table.rows] == cells
    assert table.frame()["id"].tolist() == cells


@pytest.mark.parametrize(
    "text",
    [
        "id,report\n1,No effusion.\n\n2,Pneumothorax.\n",
        "id,report\n\n\n1,a\n   \n2,b\n\t\n",
        'id,report\n1,"two\n\nlines"\n\n,\n3,c',
        'report\na\n""\n\nb\n',
        "id\treport\n1\ta\n\t\n2\tb\n",
    ],
)
def test_rows_are_those_of_pandas(text: str) -> None:
    theirs = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, sep="\t" if "\t" in text[:10] else ",")
    assert parse(text).frame().to_numpy().tolist() == theirs.to_numpy().tolist()


def test_a_malformed_row_keeps_its_place_and_its_line() -> None:
    table = parse('id,report\n1,"two\nlines"\n\n2,a,b,c\n3,"clear" lungs\n')
    assert table.rows == (("1", "two\nlines"), None, None)
    assert table.lines == (2, 5, 6)
    assert "4 fields, more than the header's 2" in table.malformed[1] and "quotes do not fit" in table.malformed[2]
    assert table.place(2) == "row 3 (line 6)"
    with pytest.raises(TableError, match=r"t.csv, row 2 \(line 5\): it has 4 fields.*1 more row"):
        table.frame()


def test_rows_that_a_stray_quote_swallows_are_named() -> None:
    table = parse('report\n"No effusion\nclear\n"edema"\nNormal\n')
    assert table.rows == (None, ("Normal",))
    assert "in lines 2 to 4" in table.malformed[0]


def test_a_long_field_is_read_and_the_process_keeps_its_limit() -> None:
    limit = csv.field_size_limit()
    assert len(parse("id,report\n1," + "x" * 300_000 + "\n").rows[0][1]) == 300_000
    assert csv.field_size_limit() == limit


def test_one_column_has_no_separator() -> None:
    table = parse("No effusion, no edema.\nClear; normal\n", columns=1).headerless("report")
    assert table.rows == (("No effusion, no edema.",), ("Clear; normal",))
    assert table.lines == (1, 2)


def test_packed_tables(tmp_path: Path) -> None:
    raw, packed = b"a,b\n1,2\n", io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", raw)
    for content in (gzip.compress(raw), bz2.compress(raw), lzma.compress(raw), packed.getvalue()):
        (tmp_path / "t").write_bytes(content)
        assert read_table(tmp_path / "t").rows == (("1", "2"),)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "has no header row"),
        (b"\n \n", "has no header row"),
        (b"report,report\na,b\n", "several columns named report"),
        (b"Label,label \na,b\n", "several columns named Label and label"),
        (b'a\n1\n"2\n3\n', "a quote in line 3 that is never closed"),
        (b"\xff\xfea\x00,", "damaged UTF-16"),
        (b"\x1f\x8bxx", "packed and damaged"),
        (b"PAR1....", "a Parquet file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "an Excel workbook"),
    ],
)
def test_what_is_no_table_is_one_sentence(raw: bytes, message: str) -> None:
    with pytest.raises(TableError, match=message) as caught:
        parse(raw)
    assert str(caught.value).startswith("t.csv ") and "\n" not in str(caught.value)


def test_a_workbook_is_named() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
        archive.writestr("xl/workbook.xml", "<x/>")
    with pytest.raises(TableError, match="an Excel workbook, not a text table; save the table as CSV"):
        parse(packed.getvalue())
