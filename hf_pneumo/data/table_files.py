"""Which files a table of films is in, and its rows as text: one table, CheXpert's three or MIMIC-CXR-JPG's joined."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd

from hf_pneumo.data.schema import SPLIT_ALIASES
from hf_pneumo.data.table_layouts import folded
from hf_pneumo.data.table_reader import TableError, read_table
from hf_pneumo.imaging.film_folder import one_line, some

logger = logging.getLogger(__name__)

# In this order: the files of one published layout, or any labels.csv. CheXpert's parts are three tables.
_MIMIC = "mimic-cxr-2.*-{part}"
_MIMIC_LABELS = ("chexpert", "negbio")
_SINGLE = ("labels", "data_entry*")
_PARTS = ("train", "valid", "test")
_ENDINGS = tuple(f".{kind}{packed}" for kind in ("csv", "tsv", "tab", "txt") for packed in ("", ".gz", ".bz2", ".xz"))
OWN_SPLIT = "_own_split"  # the column that says which of several tables a row is from


def is_table(path: Path) -> bool:
    """Whether ``path`` is a file, which can only be a table, or a folder that holds one of the known tables."""
    if os.path.isfile(path):
        return True
    known = (*_SINGLE, _PARTS[0], _PARTS[1], *(_MIMIC.format(part=part) for part in _MIMIC_LABELS))
    return os.path.isdir(path) and any(_first(path, pattern) for pattern in known)


def read_films_table(path: Path) -> tuple[pd.DataFrame, Path]:
    """One table of all rows, and the folder that its films lie in."""
    if os.path.isfile(path):
        return _text_table(path), path.parent
    for part in _MIMIC_LABELS:
        if labels := _first(path, _MIMIC.format(part=part)):
            return _joined(path, labels), path
    for pattern in _SINGLE:
        if single := _first(path, pattern):
            return _text_table(single), path
    tables = {SPLIT_ALIASES[name]: _text_table(table) for name in _PARTS if (table := _first(path, name))}
    if "test" not in tables and "val" in tables:  # CheXpert publishes no test table: its papers report valid.csv
        tables["test"] = tables.pop("val")
    spelt = {folded(column): column for table in tables.values() for column in table.columns}
    alike = {name: table.rename(columns=lambda column: spelt[folded(column)]) for name, table in tables.items()}
    return pd.concat([table.assign(**{OWN_SPLIT: name}) for name, table in alike.items()]).fillna(""), path


def _joined(folder: Path, labels: Path) -> pd.DataFrame:
    """MIMIC-CXR-JPG: the label file, one row a study, with the metadata and the split, one row a film."""
    metadata = _first(folder, _MIMIC.format(part="metadata"))
    if metadata is None:
        raise TableError(f"{labels.name} needs the metadata table beside it, which names the films (dicom_id)")
    study = ["subject_id", "study_id"]
    films, said = _renamed(_text_table(metadata), *study, "dicom_id"), _renamed(_text_table(labels), *study)
    table = films.reset_index().merge(said, on=study, how="left", indicator="_labelled").set_index("index")
    table.index.name = None
    if silent := int((table["_labelled"] == "left_only").sum()):
        logger.warning("left out %d of %d films whose study is not in %s", silent, len(table), labels.name)
    table = table[table["_labelled"] == "both"].drop(columns="_labelled")
    if split := _first(folder, _MIMIC.format(part="split")):
        part_of = _renamed(_text_table(split), "dicom_id", "split").set_index("dicom_id")["split"]
        table["split"] = table["dicom_id"].map(part_of[~part_of.index.duplicated()])
    return table.fillna("")


def _renamed(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    """``table`` with its columns ``names`` written so. Raises TableError where one is missing."""
    by_name = {folded(column): column for column in table.columns}
    if missing := [name for name in names if folded(name) not in by_name]:
        raise TableError(f"`columns` are {', '.join(table.columns)}; {' and '.join(missing)} is missing")
    return table.rename(columns={by_name[folded(name)]: name for name in names})


def _first(folder: Path, pattern: str) -> Path | None:
    """The first table of the folder called ``pattern``, whatever its case, as CSV or text of another separator."""
    ranked = [
        (_ENDINGS.index(ending), name)
        for name in os.listdir(folder)
        for ending in _ENDINGS
        if fnmatchcase(name.casefold(), pattern + ending) and os.path.isfile(folder / name)
    ]
    return folder / min(ranked)[1] if ranked else None


def _text_table(path: Path) -> pd.DataFrame:
    """The table in ``path`` as text, each row by its place; malformed rows are left out and named."""
    try:
        table = read_table(path)
    except OSError as error:
        raise TableError(f"{one_line(path.name)} cannot be read ({error.strerror})") from error
    if table.malformed:
        reasons = [f"{table.place(row)}: {reason}" for row, reason in table.malformed.items()]
        logger.warning(
            "left out %d of %d rows of %s that are malformed: %s",
            len(reasons),
            len(table.rows),
            table.name,
            some(reasons),
        )
    sound = [row for row in range(len(table.rows)) if row not in table.malformed]
    rows, lines = tuple(table.rows[row] for row in sound), tuple(table.lines[row] for row in sound)
    frame = replace(table, rows=rows, lines=lines, malformed={}).frame()
    return frame.set_axis([f"{table.name}, {table.place(row)}" for row in sound], axis=0)
