"""Reports in, labels out: the CSV files of the labeler."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from hf_pneumo.data.observations import CHEXPERT_14

logger = logging.getLogger(__name__)

_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
MALFORMED = "\ue000malformed row"  # a private-use character: no report holds it


class ReportTableError(ValueError):
    """A CSV file that holds no reports; the message is one sentence with the fix."""


@dataclass(frozen=True)
class ReportTable:
    """The reports of a CSV file, one per row in its order (None where the row is malformed), and the other columns."""

    reports: list[str | None]
    columns: pd.DataFrame


def read_text_table(path: str | PathLike[str]) -> pd.DataFrame:
    """A CSV file as text columns, blanks as "". Every row keeps its place: a malformed one has `MALFORMED` cells.

    UTF-8 with or without byte order mark, UTF-16 with one, else Windows-1252. Raises ReportTableError (ValueError) for
    a file without a header or with a quote that is never closed, and OSError where it cannot be read.
    """
    path = Path(path)
    rows = list(_rows(_decode(path), path.name))
    while rows and not rows[-1]:
        rows.pop()
    if not rows or rows[0] is None:
        raise ReportTableError(f"`reports` {path.name} has no header row; name its columns in the first line.")
    header, *body = rows
    width = len(header)
    malformed = [MALFORMED] * width
    cells = [malformed if row is None or len(row) > width else row + [""] * (width - len(row)) for row in body]
    return pd.DataFrame(cells, columns=[name.strip() for name in header], dtype=str)


def _decode(path: Path) -> str:
    raw = path.read_bytes()
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if raw.startswith(mark)), "utf-8")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        logger.warning("%s is not valid %s; read as Windows-1252", path.name, encoding)
        return raw.decode("cp1252", errors="replace")


def _rows(text: str, name: str) -> Iterator[list[str] | None]:
    """The rows of a CSV text, None for one whose quotes do not fit."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 0
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error):
                message = f"`reports` {name} has a quote in row {number} that is never closed; close it."
                raise ReportTableError(message) from error
            yield None
        number += 1


def read_reports(path: str | PathLike[str]) -> ReportTable:
    """The reports of a CSV file with a column `report`, or `findings` and `impression` (or one of the two), any case.

    Findings and impression of a row become one report with both headings. Raises as `read_text_table`, and
    ReportTableError where no such column exists.
    """
    table = read_text_table(path)
    names = {column.casefold(): column for column in table.columns}
    malformed = table.eq(MALFORMED).any(axis=1)
    if "report" in names:
        used = [names["report"]]
        reports = table[names["report"]].tolist()
    else:
        used = [names[name] for name in ("findings", "impression") if name in names]
        if not used:
            raise ReportTableError(
                f"`reports` {Path(path).name} has the columns {', '.join(table.columns)}; "
                "name one `report`, or two `findings` and `impression`."
            )
        reports = [_joined(dict(zip(used, row, strict=True))) for row in table[used].itertuples(index=False)]
    texts = [None if bad else text for bad, text in zip(malformed, reports, strict=True)]
    return ReportTable(texts, table.drop(columns=used).replace(MALFORMED, ""))


def _joined(parts: dict[str, str]) -> str:
    return "\n\n".join(f"{name.upper()}: {text}" for name, text in parts.items() if text.strip())


def write_labels(
    path: str | PathLike[str],
    labels: np.ndarray,
    *,
    names: Sequence[str] = CHEXPERT_14,
    columns: pd.DataFrame | None = None,
) -> None:
    """Write labels (N, K) of 1, 0, -1 and NaN as integers and blanks under `names`, after `columns` where given."""
    table = pd.DataFrame(labels, columns=list(names)).astype("Int8")
    if columns is not None:
        table = pd.concat([columns.reset_index(drop=True), table], axis=1)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, lineterminator="\n")
