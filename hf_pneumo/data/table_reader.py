"""Text tables as they are written: bytes to a header, rows of text and the lines they stand on.

One reader for tables of reports and tables of films. Nothing is guessed about types: "0007", "12e3", "2.10" and "N/A"
stay the text they are, so that an identifier keeps every character.

    table = read_table("labels.csv")
    table.header                # ("image", "label"): stripped; "" for a column without a name
    table.rows[0]               # ("0000.png", "1"), or None where the row is malformed
    table.place(0)              # "row 1 (line 2)", for messages
    table.frame()               # the same as a pandas table of str; raises where a row is malformed
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import logging
import lzma
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import pandas as pd

logger = logging.getLogger(__name__)

SEPARATORS = (",", ";", "\t", "|")
_NO_SEPARATOR = "\x1f"  # the unit separator: no text holds it, so that a row is one field
_BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32", b"\x00\x00\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16",
    b"\xef\xbb\xbf": "utf-8",
}  # fmt: skip
_PACKED = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ\x00": lzma.decompress}
_NO_TEXT = {b"\xd0\xcf\x11\xe0": "an Excel workbook", b"PAR1": "a Parquet file"}
_DAMAGE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
_EXCEL_HINT = re.compile(r'"?sep=([,;|:^~\t])"?[ ]*(?:\r\n|\n|\r)', re.IGNORECASE)
_PROBED = 100  # rows that decide the separator
_LONGEST = 2**31 - 1  # characters of one field; the csv module's own limit is 131,072
_limit_lock = Lock()


class TableError(ValueError):
    """A table that cannot be used; the message is one sentence with the fix."""


@dataclass(frozen=True)
class TextTable:
    """A table as text.

    header: the columns' names, stripped, "" where there is none. rows: one tuple as long as the header each, in the
    file's order; None where the row is malformed. lines: the line on which each row begins, from 1; header_line: the
    header's. malformed: why, by the row's place from 0. name: the file's name, for messages.
    """

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...] | None, ...]
    lines: tuple[int, ...]
    malformed: dict[int, str]
    header_line: int
    encoding: str
    separator: str

    def place(self, row: int) -> str:
        """Where a row stands, as people count: its number among the rows, and its line in the file."""
        return f"row {row + 1} (line {self.lines[row]})"

    def frame(self) -> pd.DataFrame:
        """The table with columns of str, blanks as ""; a column without a name is called "column 3" by its place.

        Raises TableError where a row is malformed.
        """
        if self.malformed:
            row, reason = next(iter(self.malformed.items()))
            more = f" (and {len(self.malformed) - 1} more rows are malformed)" if len(self.malformed) > 1 else ""
            raise TableError(f"{self.name}, {self.place(row)}: {reason}{more}")
        names = [name or f"column {place + 1}" for place, name in enumerate(self.header)]
        return pd.DataFrame(list(self.rows), columns=names, dtype=object)

    def headerless(self, *names: str) -> TextTable:
        """The same table where the first line is a row too and the columns have the given names."""
        malformed = {row + 1: reason for row, reason in self.malformed.items()}
        rows, lines = (self.header, *self.rows), (self.header_line, *self.lines)
        return replace(self, header=names, rows=rows, lines=lines, malformed=malformed)


def read_table(path: str | PathLike[str], *, columns: int | None = None) -> TextTable:
    """The table in a file; see `parse_table`. Raises OSError where the file cannot be read."""
    path = Path(path)
    return parse_table(path.read_bytes(), path.name, columns=columns)


def parse_table(raw: bytes, name: str, *, columns: int | None = None) -> TextTable:
    """The table in ``raw``, the content of a file called ``name``; ``columns=1`` takes no character as separator.

    Encodings: UTF-8, with or without byte order mark, UTF-16, UTF-32, else Windows-1252. Separators: comma, semicolon,
    tab or bar, whichever splits the header and the first rows alike; a header of one name means one column. Packed with
    gzip, bzip2, xz or zip it is unpacked. Lines of nothing but blanks are no rows, as for pandas. A row with fewer
    fields than the header is filled up with "", one with more, or with quotes that do not fit, is malformed.
    Raises TableError for what is no text, has no header, names two columns alike whatever their case, or opens a quote
    that is never closed.
    """
    text, encoding = _decode(_unpacked(raw, name), name)
    hint = _EXCEL_HINT.match(text)
    separator = _NO_SEPARATOR if columns == 1 else hint[1] if hint else _separator(text)
    with _long_fields():
        records = list(_records(text[hint.end() :] if hint else text, separator, name, first=2 if hint else 1))
    if not records or records[0].cells is None:
        raise TableError(f"{name} has no header row; name its columns in the first line.")
    header = tuple(cell.strip() for cell in records[0].cells)
    _check_names(header, name)
    rows, malformed = [], {}
    for row, record in enumerate(records[1:]):
        rows.append(_fitted(record.cells, len(header)))
        if rows[-1] is None:
            malformed[row] = _reason(record, len(header))
    lines = tuple(record.line for record in records[1:])
    return TextTable(name, header, tuple(rows), lines, malformed, records[0].line, encoding, separator)


class _Record(NamedTuple):
    line: int
    cells: list[str] | None
    height: int  # lines that it covers


def _unpacked(raw: bytes, name: str) -> bytes:
    kind = next((kind for mark, kind in _NO_TEXT.items() if raw.startswith(mark)), None)
    try:
        unpack = next((unpack for mark, unpack in _PACKED.items() if raw.startswith(mark)), None)
        if unpack is not None:
            return unpack(raw)
        if raw.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(io.BytesIO(raw)) as archive:
                members = archive.namelist()
                if len(members) == 1:
                    return archive.read(members[0])
            kind = "an Excel workbook" if "[Content_Types].xml" in members else f"an archive of {len(members)} files"
    except _DAMAGE as error:
        raise TableError(f"{name} is packed and damaged ({error}); get it once more.") from error
    if kind:
        raise TableError(f"{name} is {kind}, not a text table; save the table as CSV.")
    return raw


def _decode(raw: bytes, name: str) -> tuple[str, str]:
    mark = next((mark for mark in _BYTE_ORDER_MARKS if raw.startswith(mark)), b"")
    encoding = _BYTE_ORDER_MARKS[mark] if mark else _unmarked(raw)
    body = raw[len(mark) :] if encoding == "utf-8" else raw
    try:
        return body.decode(encoding), encoding
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise TableError(f"{name} is damaged {encoding.upper()} text; save it once more as UTF-8.") from error
    logger.warning("%s is not valid UTF-8; read as Windows-1252", name)
    try:
        return body.decode("cp1252"), "cp1252"
    except UnicodeDecodeError:  # five bytes have no character there
        return body.decode("latin-1"), "latin-1"


def _unmarked(raw: bytes) -> str:
    """UTF-16 without a byte order mark shows by the zero byte of its plain letters, else UTF-8."""
    start = raw[:2000]
    if len(start) > 3 and start[1::2].count(0) > 0.4 * len(start[1::2]) and not start[::2].count(0):
        return "utf-16-le"
    if len(start) > 3 and start[::2].count(0) > 0.4 * len(start[::2]) and not start[1::2].count(0):
        return "utf-16-be"
    return "utf-8"


def _separator(text: str) -> str:
    """The separator that splits the header into several names and most rows into as many fields."""
    best, score = _NO_SEPARATOR, (0.0, 1)
    for separator in SEPARATORS:
        rows = _probe(text, separator)
        width = len(rows[0]) if rows else 1
        even = sum(len(row) == width for row in rows[1:]) / max(len(rows) - 1, 1) if len(rows) > 1 else 1.0
        if width > 1 and (even, width) > score:
            best, score = separator, (even, width)
        elif width > 1 and best == _NO_SEPARATOR:
            best = separator
    return best


def _probe(text: str, separator: str) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        with _long_fields():
            for record in islice(_records(text, separator, ""), _PROBED):
                rows.append(record.cells or [])
    except TableError:  # a quote that only another separator closes
        pass
    return rows


@contextmanager
def _long_fields() -> Iterator[None]:
    """Lifts the csv module's limit on a field's length, which is the process's, for as long as one table is read."""
    with _limit_lock:
        limit = csv.field_size_limit(_LONGEST)
        try:
            yield
        finally:
            csv.field_size_limit(limit)


def _records(text: str, separator: str, name: str, *, first: int = 1) -> Iterator[_Record]:
    """The rows of a text with the line each begins on; cells None where the quotes do not fit; blank lines are none."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            taken.append(line)
            yield line

    spaced = re.search(re.escape(separator) + ' +"', text) is not None  # 1, "No effusion, no edema"
    reader = csv.reader(lines(), delimiter=separator, strict=True, skipinitialspace=spaced)
    blanks = " \r\n" if separator == "\t" else " \t\r\n"
    line = first
    while True:
        taken.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise TableError(f"{name} has a quote in line {line} that is never closed; close it.") from error
            cells = None
        if cells is None or any(part.strip(blanks) for part in taken):
            yield _Record(line, cells, len(taken))
        line += len(taken)


def _check_names(header: tuple[str, ...], name: str) -> None:
    counts = Counter(column.casefold() for column in header if column)
    double = [column for column in dict.fromkeys(header) if counts[column.casefold()] > 1]
    if double:
        raise TableError(f"{name} has several columns named {' and '.join(double)}; give each a name of its own.")


def _fitted(cells: list[str] | None, width: int) -> tuple[str, ...] | None:
    if cells is None or any(cells[width:]):
        return None
    return (*cells[:width], *[""] * (width - len(cells)))


def _reason(record: _Record, width: int) -> str:
    lines = f" in lines {record.line} to {record.line + record.height - 1}" if record.height > 1 else ""
    if record.cells is None:
        return f"its quotes do not fit{lines}; double a quote within quotes."
    return f"it has {len(record.cells)} fields{lines}, more than the header's {width}; put quotes around the text."
