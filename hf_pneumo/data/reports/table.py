"""Reports in, labels out: the CSV files of the labeler."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from hf_pneumo.data.observations import CHEXPERT_14
from hf_pneumo.data.table_reader import TableError, TextTable, read_table

logger = logging.getLogger(__name__)

# Names of columns, in lower case and without marks; the first that a table has counts.
_WHOLE = ("report", "reports", "report text", "reports text", "text report", "reporttext", "radiology report",
          "radiology reports", "full report", "report body", "report content", "final report", "narrative",
          "report narrative")  # fmt: skip
_FINDINGS = ("findings", "finding", "report findings", "findings text", "section findings")
_IMPRESSION = ("impression", "impressions", "report impression", "impression text", "section impression", "conclusion")
_SENTENCE = re.compile(r"\S+\s+\S+\s+\S+|\S[.!?]\s*$")  # three words, or a full stop: no name of a column


class ReportTableError(TableError):
    """A table that holds no reports; the message is one sentence with the fix."""


@dataclass(frozen=True)
class ReportTable:
    """The reports of a table, one per row in its order, and the other columns as text.

    reports: None where the row is malformed; `malformed` says why, by the row's place from 0. places: where each row
    stands, for messages ("row 3 (line 7)").
    """

    reports: list[str | None]
    columns: pd.DataFrame
    malformed: dict[int, str]
    places: list[str]


def read_reports(path: str | PathLike[str]) -> ReportTable:
    """The reports of a table with a column `report`, or `findings` and `impression` (or one of them), in any case.

    Findings and impression of a row become one report with both headings. A table of one column without a header, as
    CheXpert's labeler takes, is one report a row. Forms of tables: see `hf_pneumo.data.table_reader.parse_table`.
    Raises ReportTableError where it is no such table, or none at all, and OSError where it cannot be read.
    """
    try:
        table = read_table(path)
        used = _report_columns(table)
        if not used and any(_SENTENCE.search(name) for name in table.header):
            table = read_table(path, columns=1).headerless("report")
            used = [0]
    except TableError as error:
        raise ReportTableError(str(error)) from error
    if not used:
        raise ReportTableError(
            f"`reports` {table.name} has the columns {', '.join(table.header)}; "
            "name one `report`, or two `findings` and `impression`."
        )
    reports = [None if row is None else _report([row[place] for place in used], table, used) for row in table.rows]
    others = [place for place in range(len(table.header)) if place not in used]
    cells = [["" if row is None else row[place] for place in others] for row in table.rows]
    names = [table.header[place] or f"column {place + 1}" for place in others]
    columns = pd.DataFrame(cells, columns=names, dtype=object)
    places = [table.place(row) for row in range(len(table.rows))]
    return ReportTable(reports, columns, table.malformed, places)


def _report_columns(table: TextTable) -> list[int]:
    """The column of whole reports, or those of findings and impression; none where the header names neither."""
    names: dict[str, int] = {}
    for place, name in enumerate(table.header):
        names.setdefault(" ".join(re.findall(r"[^\W_]+", name.casefold())), place)

    def first(choices: Sequence[str]) -> list[int]:
        there = [names[name] for name in choices if name in names]
        if len(there) > 1:
            spare = ", ".join(table.header[place] for place in there[1:])
            logger.warning("%s: reports are read from column %s, not %s", table.name, table.header[there[0]], spare)
        return there[:1]

    return first(_WHOLE) or first(_FINDINGS) + first(_IMPRESSION)


def _report(cells: list[str], table: TextTable, used: list[int]) -> str:
    """The text of a row; of two columns, or one of a section, with the section's heading."""
    if not _sections(table, used):
        return cells[0]
    return _joined(dict(zip(_sections(table, used), cells, strict=True)))


def _sections(table: TextTable, used: list[int]) -> list[str]:
    folded = [" ".join(re.findall(r"[^\W_]+", table.header[place].casefold())) for place in used]
    return [] if folded[0] in _WHOLE else ["findings" if name in _FINDINGS else "impression" for name in folded]


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
