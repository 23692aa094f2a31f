"""A table of labelled films as a source: a CSV file, or a folder that holds one beside its films.

The layouts are those of `data.table_layouts`. Images and DICOM files are alike. What is left out (missing files,
lateral views, rows without a usable label) is counted and named in the log.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset

from hf_pneumo.data.chestxray14 import parse_findings
from hf_pneumo.data.labels import LabelSet
from hf_pneumo.data.observations import CHEXPERT_14, NO_FINDING, POSITIVE, SUPPORT_DEVICES
from hf_pneumo.data.schema import SPLIT_ALIASES, SPLITS, SourceError, contract, film_names, stored_path
from hf_pneumo.data.table_files import OWN_SPLIT, read_films_table
from hf_pneumo.data.table_layouts import Layout, Row, detect_layout, folded, resolve_images, table_rows
from hf_pneumo.data.table_reader import TableError
from hf_pneumo.data.uncertain_labels import BLANKS
from hf_pneumo.imaging.film_folder import readable, some

logger = logging.getLogger(__name__)

_NIH_LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}
_SPLIT_COLUMNS = ("split", "subset", "set")
_CLASS_COLUMNS = ("class", "label", "diagnosis")


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
    values: Sequence[Any]
    try:
        table, root = read_films_table(path)
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
    usable = _kept(rows, places, values)
    if not usable:
        raise SourceError(
            f"`dataset` {path.name!r} names no frontal film that is there and has a label of the task "
            f"({', '.join(labels.names)}); the log says what was left out of its {len(rows)} rows"
        )
    lists = not labels.exclusive and layout.findings is not None
    normal = labels.names.index(labels.normal) if labels.normal in labels.names else -1
    films = _films(usable, places, values, normal if lists else None)
    names = _names([rows[i] for i in films], [places[i] for i in films], root)
    records = [
        _record(rows[i], place, name, label, subgroups[i], splits[i])
        for (i, label), name in zip(films.items(), names, strict=True)
        if (place := places[i])  # as all have that are usable
    ]
    return Dataset.from_list(records, features=contract(labels))


def only_given(dataset: Dataset, labels: LabelSet) -> tuple[Dataset, LabelSet]:
    """``dataset`` and ``labels`` without the labels of which the source says nothing: those cannot be learnt.

    Exclusive labels stay as they are. Raises SourceError where no label is left.
    """
    if labels.exclusive:
        return dataset, labels
    values = np.array(dataset["label"], dtype=np.float32)
    given = np.any(~np.isnan(values), axis=0).tolist()  # of each label
    missing = [name for name, there in zip(labels.names, given, strict=True) if not there]
    if not missing:
        return dataset, labels
    if not any(given):
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


# Splits ---------------------------------------------------------------------------------------------------------


def _splits(table: pd.DataFrame, rows: Sequence[Row], root: Path) -> list[str]:
    """The table's own division: one table a part, a column of parts, or ChestX-ray14's two lists of file names."""
    if OWN_SPLIT in table:
        return table[OWN_SPLIT].to_list()
    by_name = {folded(column): column for column in table.columns}
    if column := next((by_name[name] for name in _SPLIT_COLUMNS if name in by_name), None):
        values = [value.strip() for value in table[column]]
        splits = [SPLIT_ALIASES.get(value.casefold(), "") for value in values]
        strange = Counter(value or "blank" for value, split in zip(values, splits, strict=True) if not split)
        if strange and any(splits):
            told = some(f"{value} ({count})" for value, count in strange.most_common())
            logger.warning("%d rows have a %s that is none of %s: %s", strange.total(), column, ", ".join(SPLITS), told)
        return splits
    part_of: dict[str, str] = {}
    for name, part in _NIH_LISTS.items():
        if (root / name).is_file():
            part_of |= dict.fromkeys((root / name).read_text(encoding="utf-8-sig").split(), part)
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
    abnormal = np.any(values[:, findings] == POSITIVE, axis=1).tolist()
    columns = [CHEXPERT_14.index(name) for name in labels.names]
    values = values[:, columns]
    labelled = np.any(~np.isnan(values), axis=1).tolist()
    if not all(labelled):
        logger.warning("left out %d of %d rows that say nothing about any label", labelled.count(False), len(rows))
    lists = [row if there else None for row, there in zip(values.tolist(), labelled, strict=True)]
    return lists, ["finding" if present else "no finding" for present in abnormal]


def _classes(
    table: pd.DataFrame, labels: LabelSet, column: str | None, classes: Mapping[str, str] | None
) -> tuple[list[int | None], list[str]]:
    """Label index of each row, None where its value stands for no label, and the value itself as the subgroup."""
    column = _class_column(table, labels, column)
    meaning = {name.casefold(): i for i, name in enumerate(labels.names)}
    if labels.finding in labels.names:
        meaning |= {"0": labels.names.index(labels.normal), "1": labels.names.index(labels.finding)}
    if classes is not None:
        meaning = {value.casefold(): labels.index(name) for value, name in classes.items()}
    values = [_whole(cell.strip(), meaning) for cell in table[column]]
    indices = []
    for value in values:
        parts = (value, *parse_findings(value))
        meant = {meaning[part.casefold()] for part in parts if part.casefold() in meaning}
        indices.append(meant.pop() if len(meant) == 1 else None)
    strange = Counter(value or "blank" for value, index in zip(values, indices, strict=True) if index is None)
    if len(strange) and len(strange) == len(set(values)):
        raise SourceError(
            f"`label_column` {column!r} holds {some(list(strange))}; give `classes` that map its values to "
            f"{', '.join(labels.names)}"
        )
    if strange:
        told = [f"{value} ({count})" for value, count in strange.most_common()]
        logger.warning(
            "left out %d of %d rows whose %s is no class of the task: %s",
            strange.total(), len(values), column, some(told),
        )  # fmt: skip
    return indices, [value.casefold() for value in values]


def _whole(value: str, meaning: Mapping[str, int]) -> str:
    """The "1.0" of a column of numbers with gaps as the "1" that has a meaning; any other text as it is."""
    whole = re.sub(r"\.0+$", "", value)
    return whole if value.casefold() not in meaning and whole in meaning else value


def _class_column(table: pd.DataFrame, labels: LabelSet, wanted: str | None) -> str:
    by_name = {folded(column): column for column in table.columns}
    asked = [wanted] if wanted else [labels.task, labels.finding or "", *_CLASS_COLUMNS]
    found = next((by_name[folded(name)] for name in asked if folded(name) in by_name), None)
    if found is None:
        raise SourceError(
            f"`label_column` {wanted or 'is missing and'} is not among the table's columns "
            f"({', '.join(map(str, table.columns))}); name the one that holds the class of a film"
        )
    return found


# Films ----------------------------------------------------------------------------------------------------------


def _kept(rows: Sequence[Row], places: Sequence[Path | None], values: Sequence[Any]) -> list[int]:
    """Rows with a file, a frontal view and a label; what is left out for the first two reasons is told here."""
    lateral = [i for i, row in enumerate(rows) if row["view"] == "LATERAL"]
    missing = [row["image_path"] or "blank" for row, place in zip(rows, places, strict=True) if place is None]
    if lateral:
        logger.info("left out %d of %d films that are lateral views", len(lateral), len(rows))
    if missing:
        logger.warning("left out %d of %d films whose files are missing: %s", len(missing), len(rows), some(missing))
    aside = set(lateral)
    return [i for i, place in enumerate(places) if place is not None and i not in aside and values[i] is not None]


def _films(
    usable: Sequence[int], places: Sequence[Path | None], values: Sequence[Any], normal: int | None
) -> dict[int, Any]:
    """A row for each film, in the table's order, with the label that the film's rows give together.

    Rows of one film are those of several readers, boxes or findings; contradictions are told. The label that most of
    the rows give counts, the first of those in a tie. ``normal``: where rows are lists of findings, the place of No
    Finding in them; then every finding that a row names counts, since tables of boxes have a row for each.
    """
    rows_of: defaultdict[Path | None, list[int]] = defaultdict(list)
    for i in usable:
        rows_of[places[i]].append(i)
    films, contradicted = {}, []
    for place, rows in rows_of.items():
        given = [values[i] for i in rows]
        label = _majority(given) if normal is None else _united(given, normal)
        films[next((i for i in rows if values[i] == label), rows[0])] = label
        contradicted += [place.name] if place and _contradict(given, normal) else []
    if again := len(usable) - len(films):
        logger.info("%d rows name a film once more, as in tables of boxes and of several readers", again)
    if contradicted:
        rule = "what most of its rows say counts, the first of them in a tie"
        logger.warning(
            "%d films have rows that contradict each other; %s: %s",
            len(contradicted), rule if normal is None else "a finding that one row names counts", some(contradicted),
        )  # fmt: skip
    return films


def _majority(given: Sequence[Any]) -> Any:
    """The commonest of labels, or of each place of lists of values; NaN counts only where nothing else is said."""
    if not isinstance(given[0], list):
        return Counter(given).most_common(1)[0][0]
    columns = ([value for value in column if not np.isnan(value)] for column in zip(*given, strict=True))
    return [Counter(column).most_common(1)[0][0] if column else np.nan for column in columns]


def _united(given: Sequence[list[float]], normal: int) -> list[float]:
    """1 where a row says 1, else unknown where a row does not know, else 0; No Finding only where all rows say it."""
    columns = list(zip(*given, strict=True))
    united = [POSITIVE if POSITIVE in column else float(np.max(column)) for column in columns]
    if normal >= 0:
        united[normal] = float(np.min(columns[normal]))
    return united


def _contradict(given: Sequence[Any], normal: int | None) -> bool:
    if not isinstance(given[0], list):
        return len(set(given)) > 1
    columns = list(zip(*given, strict=True))
    if normal is not None:  # a finding a row is no contradiction, but No Finding beside one is
        columns = columns[normal : normal + 1] if normal >= 0 else []
    return any(len({value for value in column if not np.isnan(value)}) > 1 for column in columns)


def _record(row: Row, place: Path, name: str, label: Any, subgroup: str, split: str) -> dict[str, Any]:
    return {
        "image": {"path": stored_path(place), "bytes": None},
        "label": label,
        "file_name": name,
        "patient": row["patient"],
        "subgroup": subgroup,
        "view": row["view"] or None,
        "age": row["age"],
        "sex": row["sex"] or None,
        "split": split,
    }


def _names(rows: Sequence[Row], places: Sequence[Path], root: Path) -> list[str]:
    """The table's own names for its films; where one tells where on a disk films lie, the file's name instead."""
    own = [PureWindowsPath(row["image_path"]) for row in rows]
    on_disk = [path.is_absolute() or bool(path.drive or path.root) for path in own]
    below = [
        readable(p.relative_to(root).as_posix() if p.is_relative_to(root) else p.as_posix().lstrip("/")) for p in places
    ]
    short = film_names(below)
    return [name if disk else path.as_posix() for path, disk, name in zip(own, on_disk, short, strict=True)]
