"""CSV tables of labelled films: which data set's layout it is, and its rows in one form.

Known layouts: CheXpert (train.csv, valid.csv), MIMIC-CXR-JPG (its label file joined with its metadata), ChestX-ray14
(Data_Entry_2017*.csv), and any table with a column of file names and either columns named as CheXpert's observations or
one column of findings "A|B".
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd

from hf_pneumo.data.chestxray14 import nih_labels, parse_findings
from hf_pneumo.data.observations import CHEXPERT_14
from hf_pneumo.data.patients import film_stem, patients_of
from hf_pneumo.data.schema import DRAWINGS
from hf_pneumo.data.table_reader import TableError
from hf_pneumo.imaging.film_folder import walk

# Names of columns as `folded` gives them.
_PATHS = ("path", "image path", "image index", "image", "file name", "filename", "file", "file path", "filepath",
          "dicom", "dicom path", "image id", "dicom id", "patientid")  # fmt: skip
_PATIENTS = ("patient", "patient id", "patientid", "subject id", "subject", "nih patient")
_VIEWS = ("view", "viewposition", "view position", "ap/pa", "projection")
_AGES = ("age", "patient age", "age at study", "anchor age")
_SEXES = ("sex", "patient gender", "patient sex", "gender")
_FINDINGS = ("finding labels", "findings", "labels", "label", "nih findings")
_LATERAL = {"LL", "RL", "LATERAL", "LAT", "LLD", "LEFT LATERAL", "RIGHT LATERAL"}
_BLANK = {"", "nan", "na", "n/a", "<na>", "none", "null"}  # cells of labels and views that say nothing
_OLDEST = 120  # years; ChestX-ray14 holds ages such as 411


class Row(TypedDict):
    """One film: sex "M", "F" or ""; view "PA", "AP", "LATERAL" or ""; labels float32 (14,) of 1, 0, -1 and NaN."""

    image_path: str
    patient: str
    view: str
    age: int | None
    sex: str
    labels: np.ndarray


@dataclass(frozen=True)
class Layout:
    """Which column of a table holds what; None where the table lacks it.

    name: "chexpert", "mimic-cxr", "nih" or "columns". labels: CheXpert's name to the column. findings: the column of
    "A|B" in ChestX-ray14's words. frontal: CheXpert's Frontal/Lateral column.
    """

    name: str
    path: str
    patient: str | None
    view: str | None
    age: str | None
    sex: str | None
    labels: dict[str, str]
    findings: str | None
    frontal: str | None = None
    study: str | None = None


def folded(column: str) -> str:
    """A column's name without what people write differently: case, blanks around it, "_" for a blank."""
    return " ".join(column.replace("_", " ").casefold().split())


def detect_layout(columns: Iterable[str], *, labelled: bool = True) -> Layout:
    """The layout of a table by the names of its columns, whatever their case.

    Raises TableError (ValueError) where no column names files, or none holds labels and ``labelled``, listing the
    columns.
    """
    columns = [str(column) for column in columns]
    by_name = {folded(column): column for column in reversed(columns)}

    def first(names: Sequence[str]) -> str | None:
        return next((by_name[name] for name in names if name in by_name), None)

    observed = {name: by_name[name.casefold()] for name in CHEXPERT_14 if name.casefold() in by_name}
    findings = first(_FINDINGS) if not observed else None
    shown = ", ".join(columns)
    if labelled and not observed and findings is None:
        raise TableError(f"`columns` are {shown}; none is an observation of CheXpert or a list of findings.")
    if {"subject id", "study id"} <= by_name.keys() and first(_PATHS) in (None, by_name.get("dicom id")):
        if "dicom id" not in by_name:
            raise TableError(f"`columns` are {shown}; join MIMIC-CXR's labels with its metadata, which names dicom_id.")
        name, path = "mimic-cxr", by_name["dicom id"]
    else:
        path = first(_PATHS) or ""
        if not path:
            raise TableError(f"`columns` are {shown}; none names files: call it path, image or file_name.")
        kinds = {"chexpert": {"path", "frontal/lateral"}, "nih": {"image index", "finding labels"}}
        name = next((kind for kind, needed in kinds.items() if needed <= by_name.keys()), "columns")
    return Layout(
        name=name,
        path=path,
        patient=first(_PATIENTS),
        view=first(_VIEWS),
        age=first(_AGES),
        sex=first(_SEXES),
        labels=observed,
        findings=findings,
        frontal=by_name.get("frontal/lateral"),
        study=by_name.get("study id"),
    )


def table_rows(table: pd.DataFrame, layout: Layout | None = None, *, labelled: bool = True) -> list[Row]:
    """The films of a table in its order; without ``labelled`` every label is unknown, whatever the cells hold.

    Without a patient column, or where its cell is empty, the path tells the patient (see `patients_of`). Identifiers
    are the text that the cells hold. Raises TableError for a label that is no 1, 0, -1 or blank, or a finding unknown
    to ChestX-ray14, with the row's place, and for tables whose columns say nothing (see `detect_layout`).
    """
    layout = layout or detect_layout(table.columns)
    labels = _labels(table, layout) if labelled else np.full((len(table), len(CHEXPERT_14)), np.nan, dtype=np.float32)
    cells = list(_cells(table))
    paths = [_path(row, layout) for row in cells]
    return [
        {
            "image_path": path,
            "patient": row.get(layout.patient, "") or patient,
            "view": _view(row, layout),
            "age": _age(row.get(layout.age, "")),
            "sex": _sex(row.get(layout.sex, "")),
            "labels": values,
        }
        for row, path, patient, values in zip(cells, paths, patients_of(paths), labels, strict=True)
    ]


def row_place(table: pd.DataFrame, row: int) -> str:
    """Where a row stands, as people count: by the table's index where that is text, else by its number from 1."""
    index = table.index[row]
    return index if isinstance(index, str) else f"row {row + 1}"


def resolve_images(paths: Sequence[str], root: str | os.PathLike[str]) -> list[Path | None]:
    """Where each file lies: at its path under root, at the path's tail, or by its name anywhere under root; else None.

    CheXpert's paths begin with the folder that root often is; ChestX-ray14's are bare names in images_001 to _012. A
    name counts only where one file and one path have it (CheXpert calls thousands of films view1_frontal.jpg), and
    with another ending where there is none with its own: the same film as DICOM, or converted. Linked folders are
    followed; the same name may be written with composed or decomposed letters.
    """
    root = Path(root)
    wanted = Counter(_name_key(film_stem(path)) for path in set(paths))
    files: defaultdict[str, list[Path]] | None = None
    found: list[Path | None] = []
    for path in paths:
        parts = Path(path.replace("\\", "/")).parts
        tails = [root.joinpath(*parts[skip:]) for skip in range(min(len(parts), 3))]
        tails += [tail.with_name(film_stem(tail.name) + ".dcm") for tail in tails if tail.name]
        place = next((tail for tail in tails if os.path.isfile(tail)), None)
        if place is None and parts:
            if files is None:
                files = _files_by_name(root)
            name = _name_key(film_stem(path))
            there = files.get(name, [])
            same = [file for file in there if _name_key(file.name) == _name_key(parts[-1])] or there
            place = same[0] if len(same) == 1 and wanted[name] == 1 else None
        found.append(place)
    return found


def _files_by_name(root: Path) -> defaultdict[str, list[Path]]:
    """The files below ``root`` by their names without a film's ending; masks and other drawings are no films."""
    files: defaultdict[str, list[Path]] = defaultdict(list)
    for file in walk(root).files:
        if not DRAWINGS & {folded(part) for part in file.relative_to(root).parts[:-1]}:
            files[_name_key(film_stem(str(file)))].append(file)
    return files


def _name_key(name: str) -> str:
    """A file name as it is compared: composed letters; bytes that are not UTF-8 read as Windows-1252."""
    try:
        text = os.fsencode(name).decode("utf-8", "surrogateescape")
        text = re.sub("[\udc80-\udcff]", lambda byte: os.fsencode(byte[0]).decode("cp1252", "replace"), text)
    except UnicodeEncodeError:
        text = name
    return unicodedata.normalize("NFC", text)


def _cells(table: pd.DataFrame) -> Iterator[dict[str | None, str]]:
    text = table.astype(object).where(table.notna(), "").astype(str)
    columns = [str(column) for column in table.columns]
    for cells in text.itertuples(index=False, name=None):
        yield dict(zip(columns, (cell.strip() for cell in cells), strict=True))


def _labels(table: pd.DataFrame, layout: Layout) -> np.ndarray:
    """float32 (N, 14); observations without a column are NaN."""
    values = np.full((len(table), len(CHEXPERT_14)), np.nan, dtype=np.float32)
    if layout.findings is not None:
        for row, text in enumerate(table[layout.findings].fillna("").astype(str)):
            try:
                values[row] = nih_labels(parse_findings(text)) if text.strip() else np.nan
            except ValueError as error:
                raise TableError(f"{row_place(table, row)}, column {layout.findings}: {error}") from error
        return values
    for name, column in layout.labels.items():
        cells = table[column].mask(table[column].astype(str).str.strip().str.casefold().isin(_BLANK))
        numbers = pd.to_numeric(cells, errors="coerce")
        wrong = (cells.notna() & ~numbers.isin((1, 0, -1))).to_numpy()
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise TableError(f"{row_place(table, row)}, column {column}: {cells.iloc[row]!r} is no 1, 0, -1 or blank")
        values[:, CHEXPERT_14.index(name)] = numbers.to_numpy(dtype=np.float32)
    return values


def _path(cells: dict[str | None, str], layout: Layout) -> str:
    """The path, built for MIMIC-CXR-JPG as files/p10/p10000032/s50414267/<dicom_id>.jpg."""
    if layout.name != "mimic-cxr":
        return cells[layout.path]
    subject, study = _whole(cells[layout.patient]), _whole(cells[layout.study])
    return f"files/p{subject[:2]}/p{subject}/s{study}/{cells[layout.path]}.jpg"


def _view(cells: dict[str | None, str], layout: Layout) -> str:
    view = cells.get(layout.view, "").upper()
    view = "" if view.casefold() in _BLANK else view
    if view in _LATERAL or cells.get(layout.frontal, "").upper() == "LATERAL":
        return "LATERAL"
    return view


def _age(text: str) -> int | None:
    """Years of "58", "58.0" and "058Y"; None for months, days and ages nobody reaches."""
    match = re.fullmatch(r"0*(\d+)(?:\.0+)?\s*Y?", text, re.IGNORECASE)
    return int(match[1]) if match and int(match[1]) <= _OLDEST else None


def _sex(text: str) -> str:
    return text[:1].upper() if text.casefold() in ("m", "f", "male", "female") else ""


def _whole(text: str) -> str:
    """A number of MIMIC-CXR's that a program wrote as float ("10000032.0") as it is in the files' paths."""
    return re.sub(r"\.0+$", "", text)
