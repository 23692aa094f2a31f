"""A table of labelled films as a source: a CSV file, or a folder that holds one beside its films.

The layouts are those of `data.table_layouts`. Images and DICOM files are alike. What is left out (missing files,
lateral views, rows without a usable label) is counted and named in the log.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset

from hf_pneumo.data.chestxray14 import parse_findings
from hf_pneumo.data.labels import LabelSet
from hf_pneumo.data.observations import CHEXPERT_14, NO_FINDING, POSITIVE, SUPPORT_DEVICES
from hf_pneumo.data.schema import SPLIT_ALIASES, SourceError, contract
from hf_pneumo.data.table_layouts import Layout, Row, TableError, detect_layout, resolve_images, table_rows
from hf_pneumo.data.uncertain_labels import BLANKS

logger = logging.getLogger(__name__)

# In this order: the files of one published layout, or any labels.csv. CheXpert's parts are three tables.
_MIMIC = "mimic-cxr-2.*-{part}.csv*"
_MIMIC_LABELS = ("chexpert", "negbio")
_SINGLE = ("labels.csv", "Data_Entry*.csv")
_PARTS = ("train.csv", "valid.csv", "test.csv")
_NIH_LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}
_SPLIT_COLUMNS = ("split", "subset", "set")
_CLASS_COLUMNS = ("class", "label", "diagnosis")
_OWN_SPLIT = "_own_split"  # the column that says which of several tables a row is from
SHOWN = 20  # names of one kind that a log line lists at most


def is_table(path: Path) -> bool:
    """Whether ``path`` is a table, or a folder that holds one of the known tables."""
    if path.is_file():
        return ".csv" in (suffix.lower() for suffix in path.suffixes)
    wanted = (*_SINGLE, _PARTS[0], _PARTS[1], *(_MIMIC.format(part=part) for part in _MIMIC_LABELS))
    return path.is_dir() and any(next(path.glob(pattern), None) for pattern in wanted)


def from_table(
    path: Path,
    labels: LabelSet,
    *,
    label_column: str | None = None,
    classes: Mapping[str, str] | None = None,
    blanks: str | None = None,
) -> Dataset:
    """The films of the table ``path``, or of the table in the folder ``path``, with the columns of the contract.

    Exclusive labels: ``label_column`` holds the class (default: a column named as the finding, or class, label),
    ``classes`` maps its values to labels (default: the labels' own names, and 1 and 0 for finding and normal). In a
    list "A|B" the parts count, if they say the same. Other labels: one value a label, see `contract`; a blank counts
    as absent ("zero"), as in CheXpert's baseline, or as unknown ("ignore"); by default as unknown in lists of
    findings, where it can only mean that nobody looked. Raises SourceError where nothing usable is left.
    """
    try:
        table, root = _read(path)
        layout = detect_layout(table.columns, labelled=not labels.exclusive)
        if labels.exclusive:
            values, subgroups = _classes(table, labels, label_column, classes)
            rows = table_rows(table, layout, labelled=False)
        else:
            rows = table_rows(table, layout)
            values, subgroups = _observations(rows, layout, labels, blanks)
    except TableError as error:
        raise SourceError(f"`dataset` {path.name!r} is no table of films: {error}") from error
    places = resolve_images([row["image_path"] for row in rows], root)
    splits = _splits(table, rows, root)
    kept = _kept(rows, places, values)
    if not kept:
        raise SourceError(
            f"`dataset` {path.name!r} names no frontal film that is there and has a label of the task "
            f"({', '.join(labels.names)}); the log says what was left out of its {len(rows)} rows"
        )
    records = [_record(rows[i], places[i], values[i], subgroups[i], splits[i]) for i in kept]
    return Dataset.from_list(records, features=contract(labels))


def only_given(dataset: Dataset, labels: LabelSet) -> tuple[Dataset, LabelSet]:
    """``dataset`` and ``labels`` without the labels of which the source says nothing: those cannot be learnt.

    Exclusive labels stay as they are. Raises SourceError where no label is left.
    """
    if labels.exclusive:
        return dataset, labels
    values = np.array(dataset["label"], dtype=np.float32)
    given = (~np.isnan(values)).any(axis=0)
    missing = [name for name, there in zip(labels.names, given, strict=True) if not there]
    if not missing:
        return dataset, labels
    if not given.any():
        raise SourceError(f"the source says nothing about any label of {labels.task!r}; check its label columns")
    logger.warning("left out the labels that the source never gives: %s", ", ".join(missing))
    features = dataset.features
    dataset = dataset.remove_columns("label").add_column("label", list(values[:, given]), feature=features["label"])
    return dataset.select_columns(list(features)), labels.without(missing)


def parse_classes(text: str | None) -> dict[str, str] | None:
    """The mapping in "Normal=NORMAL, Lung Opacity=PNEUMONIA"; ValueError for anything else."""
    if text is None:
        return None
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(value.strip() and sign and name.strip() for value, sign, name in pairs):
        raise ValueError(
            f"`classes` is {text!r}; give value=LABEL pairs, as in 'Normal=NORMAL, Lung Opacity=PNEUMONIA'"
        )
    return {value.strip(): name.strip() for value, _, name in pairs}


# Reading the tables ---------------------------------------------------------------------------------------------


def _read(path: Path) -> tuple[pd.DataFrame, Path]:
    """One table of all rows, and the folder that its films lie in."""
    if path.is_file():
        return _csv(path), path.parent
    for part in _MIMIC_LABELS:
        if found := _first(path, _MIMIC.format(part=part)):
            return _joined(path, found), path
    for pattern in _SINGLE:
        if found := _first(path, pattern):
            return _csv(found), path
    parts = [path / name for name in _PARTS if (path / name).is_file()]
    tables = {SPLIT_ALIASES[part.stem]: _csv(part) for part in parts}
    if "test" not in tables and "val" in tables:  # CheXpert publishes no test table: its papers report valid.csv
        tables["test"] = tables.pop("val")
    return pd.concat([t.assign(**{_OWN_SPLIT: name}) for name, t in tables.items()], ignore_index=True), path


def _joined(folder: Path, labels: Path) -> pd.DataFrame:
    """MIMIC-CXR-JPG: the label file, one row a study, with the metadata and the split, one row a film."""
    metadata = _first(folder, _MIMIC.format(part="metadata"))
    if metadata is None:
        raise TableError(f"{labels.name} needs the metadata table beside it, which names the films (dicom_id)")
    table = _csv(metadata).merge(_csv(labels), on=["subject_id", "study_id"], how="inner")
    if split := _first(folder, _MIMIC.format(part="split")):
        table = table.merge(_csv(split)[["dicom_id", "split"]], on="dicom_id", how="left")
    return table


def _first(folder: Path, pattern: str) -> Path | None:
    return next(iter(sorted(folder.glob(pattern))), None)


def _csv(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, low_memory=False)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise TableError(f"{path.name} cannot be read as CSV ({' '.join(str(error).split())})") from error


def _splits(table: pd.DataFrame, rows: Sequence[Row], root: Path) -> list[str]:
    """The table's own division: one table a part, a column of parts, or ChestX-ray14's two lists of file names."""
    if _OWN_SPLIT in table:
        return table[_OWN_SPLIT].to_list()
    folded = {str(column).casefold(): column for column in table.columns}
    if column := next((folded[name] for name in _SPLIT_COLUMNS if name in folded), None):
        return [SPLIT_ALIASES.get(str(value).strip().casefold(), "") for value in table[column]]
    part_of: dict[str, str] = {}
    for name, part in _NIH_LISTS.items():
        if (root / name).is_file():
            part_of |= dict.fromkeys((root / name).read_text(encoding="utf-8").split(), part)
    return [part_of.get(Path(row["image_path"]).name, "") for row in rows]


# Labels ---------------------------------------------------------------------------------------------------------


def _observations(
    rows: Sequence[Row], layout: Layout, labels: LabelSet, blanks: str | None
) -> tuple[list[list[float] | None], list[str]]:
    """Values in the label set's order, None where nothing is known, and whether any finding but devices is there."""
    if unknown := [name for name in labels.names if name not in CHEXPERT_14]:
        raise SourceError(
            f"`labels` has {', '.join(unknown)}, which no table gives; those are {', '.join(CHEXPERT_14)}"
        )
    blanks = blanks or ("ignore" if layout.findings else "zero")
    if blanks not in BLANKS:
        raise ValueError(f"`blanks` is {blanks!r}; choose one of {', '.join(BLANKS)}")
    values = np.stack([row["labels"] for row in rows]) if rows else np.zeros((0, len(CHEXPERT_14)), np.float32)
    if blanks == "zero":  # a column that the table lacks stays unknown
        asked = np.array([bool(layout.findings) or name in layout.labels for name in CHEXPERT_14])
        values = np.where(np.isnan(values) & asked & (~np.isnan(values)).any(axis=0), 0, values)
    findings = [name not in (NO_FINDING, SUPPORT_DEVICES) for name in CHEXPERT_14]
    found = (values[:, findings] == POSITIVE).any(axis=1)
    columns = [CHEXPERT_14.index(name) for name in labels.names]
    values = values[:, columns]
    known = (~np.isnan(values)).any(axis=1)
    if not known.all():
        logger.warning("left out %d of %d rows that say nothing about any label", int((~known).sum()), len(rows))
    kept = [value if there else None for value, there in zip(values.tolist(), known, strict=True)]
    return kept, ["finding" if present else "no finding" for present in found]


def _classes(
    table: pd.DataFrame, labels: LabelSet, column: str | None, classes: Mapping[str, str] | None
) -> tuple[list[int | None], list[str]]:
    """Label index of each row, None where its value stands for no label, and the value itself as the subgroup."""
    column = _class_column(table, labels, column)
    meaning = {name.casefold(): i for i, name in enumerate(labels.names)}
    if labels.finding in labels.names:
        meaning |= {"0": labels.index(labels.normal), "1": labels.index(labels.finding)}
    if classes is not None:
        meaning = {value.casefold(): labels.index(name) for value, name in classes.items()}
    values = [_text(cell) for cell in table[column]]
    indices = []
    for value in values:
        meant = {meaning[part.casefold()] for part in (value, *parse_findings(value)) if part.casefold() in meaning}
        indices.append(meant.pop() if len(meant) == 1 else None)
    strange = Counter(value or "blank" for value, index in zip(values, indices, strict=True) if index is None)
    if len(strange) and len(strange) == len(set(values)):
        raise SourceError(
            f"`label_column` {column!r} holds {_some(list(strange))}; give `classes` that map its values to "
            f"{', '.join(labels.names)}"
        )
    if strange:
        told = [f"{value} ({count})" for value, count in strange.most_common()]
        logger.warning(
            "left out %d of %d rows whose %s is no class of the task: %s",
            strange.total(), len(values), column, _some(told),
        )  # fmt: skip
    return indices, [value.casefold() for value in values]


def _class_column(table: pd.DataFrame, labels: LabelSet, wanted: str | None) -> str:
    folded = {str(column).strip().casefold(): column for column in table.columns}
    asked = [wanted] if wanted else [labels.task, labels.finding or "", *_CLASS_COLUMNS]
    found = next((folded[name.casefold()] for name in asked if name.casefold() in folded), None)
    if found is None:
        raise SourceError(
            f"`label_column` {wanted or 'is missing and'} is not among the table's columns "
            f"({', '.join(map(str, table.columns))}); name the one that holds the class of a film"
        )
    return found


def _text(cell: Any) -> str:
    """A cell as it was written: whole numbers without the ".0" of columns with gaps."""
    if pd.isna(cell):
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


# Films ----------------------------------------------------------------------------------------------------------


def _kept(rows: Sequence[Row], places: Sequence[Path | None], values: Sequence[Any]) -> list[int]:
    """Rows with a file, a frontal view and a label; what is left out for the first two reasons is told here."""
    lateral = [i for i, row in enumerate(rows) if row["view"] == "LATERAL"]
    missing = [row["image_path"] for row, place in zip(rows, places, strict=True) if place is None]
    if lateral:
        logger.info("left out %d of %d films that are lateral views", len(lateral), len(rows))
    if missing:
        logger.warning("left out %d of %d films whose files are missing: %s", len(missing), len(rows), _some(missing))
    aside = set(lateral)
    usable = [i for i, place in enumerate(places) if place is not None and i not in aside and values[i] is not None]
    first = {places[i]: i for i in reversed(usable)}
    if again := len(usable) - len(first):  # as in tables of boxes, which have a row a box
        logger.info("left out %d rows that name a film once more; the first row of a film counts", again)
    return sorted(first.values())


def _record(row: Row, place: Path, label: Any, subgroup: str, split: str) -> dict[str, Any]:
    named = Path(row["image_path"])
    return {
        "image": {"path": str(place), "bytes": None},
        "label": label,
        # The table's own name for the film, unless it tells where on a disk films lie.
        "file_name": place.name if named.is_absolute() else named.as_posix(),
        "patient": row["patient"],
        "subgroup": subgroup,
        "view": row["view"] or None,
        "age": row["age"],
        "sex": row["sex"] or None,
        "split": split,
    }


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
