"""CSV tables of labelled films: which data set's layout it is, and its rows in one form.

Known layouts: CheXpert (train.csv, valid.csv), MIMIC-CXR-JPG (its label file joined with its metadata), ChestX-ray14
(Data_Entry_2017*.csv), and any table with a column of file names and either columns named as CheXpert's observations or
one column of findings "A|B".
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd

from hf_pneumo.data.chestxray14 import nih_labels, parse_findings
from hf_pneumo.data.observations import CHEXPERT_14
from hf_pneumo.data.table_reader import TableError
from hf_pneumo.imaging.film_files import FILM_ENDINGS

_PATHS = ("path", "image_path", "image path", "image index", "image", "file_name", "filename", "file", "file_path",
          "filepath", "dicom", "dicom_path", "image_id", "dicom_id", "patientid")  # fmt: skip
_PATIENTS = ("patient", "patient_id", "patient id", "patientid", "subject_id", "subject", "nih_patient")
_VIEWS = ("view", "viewposition", "view position", "view_position", "ap/pa", "projection")
_AGES = ("age", "patient age", "patient_age", "age_at_study", "anchor_age")
_SEXES = ("sex", "patient gender", "patient sex", "gender", "patient_sex", "patient_gender")
_FINDINGS = ("finding labels", "findings", "finding_labels", "labels", "label", "nih_findings")
_LATERAL = {"LL", "RL", "LATERAL", "LAT", "LLD", "LEFT LATERAL", "RIGHT LATERAL"}
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


def detect_layout(columns: Iterable[str], *, labelled: bool = True) -> Layout:
    """The layout of a table by the names of its columns, whatever their case.

    Raises TableError (ValueError) where no column names files, or none holds labels and ``labelled``, listing the
    columns.
    """
    columns = [str(column) for column in columns]
    folded = {column.strip().casefold(): column for column in columns}

    def first(names: Sequence[str]) -> str | None:
        return next((folded[name] for name in names if name in folded), None)

    observed = {name: folded[name.casefold()] for name in CHEXPERT_14 if name.casefold() in folded}
    findings = first(_FINDINGS) if not observed else None
    shown = ", ".join(columns)
    if labelled and not observed and findings is None:
        raise TableError(f"`columns` are {shown}; none is an observation of CheXpert or a list of findings.")
    if {"subject_id", "study_id"} <= folded.keys() and first(_PATHS) in (None, folded.get("dicom_id")):
        if "dicom_id" not in folded:
            raise TableError(f"`columns` are {shown}; join MIMIC-CXR's labels with its metadata, which names dicom_id.")
        name, path = "mimic-cxr", folded["dicom_id"]
    else:
        path = first(_PATHS)
        if path is None:
            raise TableError(f"`columns` are {shown}; none names files: call it path, image or file_name.")
        kinds = {"chexpert": {"path", "frontal/lateral"}, "nih": {"image index", "finding labels"}}
        name = next((kind for kind, needed in kinds.items() if needed <= folded.keys()), "columns")
    return Layout(
        name=name,
        path=path,
        patient=first(_PATIENTS),
        view=first(_VIEWS),
        age=first(_AGES),
        sex=first(_SEXES),
        labels=observed,
        findings=findings,
        frontal=folded.get("frontal/lateral"),
        study=folded.get("study_id"),
    )


def table_rows(table: pd.DataFrame, layout: Layout | None = None, *, labelled: bool = True) -> list[Row]:
    """The films of a table in its order; without ``labelled`` every label is unknown, whatever the cells hold.

    Without a patient column the patient is CheXpert's folder (patient00001), MIMIC-CXR's (p10000032), or the file
    name's part before "_". Raises TableError for a label that is no 1, 0, -1 or blank, or a finding unknown to
    ChestX-ray14, with the row's number from 1, and for tables whose columns say nothing (see `detect_layout`).
    """
    layout = layout or detect_layout(table.columns)
    labels = _labels(table, layout) if labelled else np.full((len(table), len(CHEXPERT_14)), np.nan, dtype=np.float32)
    rows: list[Row] = []
    for values, cells in zip(labels, _cells(table), strict=True):
        path = _path(cells, layout)
        rows.append(
            {
                "image_path": path,
                "patient": _whole(cells.get(layout.patient, "")) or patient_of(path),
                "view": _view(cells, layout),
                "age": _age(cells.get(layout.age, "")),
                "sex": _sex(cells.get(layout.sex, "")),
                "labels": values,
            }
        )
    return rows


def patient_of(path: str) -> str:
    """The patient a file path tells of: a folder patient00001 or p10000032, else the file name's part before "_"."""
    folder = re.search(r"(?:^|/)(patient\d+|p\d{8})(?:/|$)", path.replace("\\", "/"))
    return folder[1] if folder else Path(path).stem.partition("_")[0]


def resolve_images(paths: Sequence[str], root: str | os.PathLike[str]) -> list[Path | None]:
    """Where each file lies: at its path under root, at the path's tail, or by its name anywhere under root; else None.

    CheXpert's paths begin with the folder that root often is; ChestX-ray14's are bare names in images_001 to _012. A
    name counts only where one file and one path have it (CheXpert calls thousands of films view1_frontal.jpg), and
    with another ending where there is none with its own: the same film as DICOM, or converted.
    """
    root = Path(root)
    wanted = Counter(_stem(path) for path in set(paths))
    files: defaultdict[str, list[Path]] | None = None
    found: list[Path | None] = []
    for path in paths:
        parts = Path(path.replace("\\", "/")).parts
        tails = [root.joinpath(*parts[skip:]) for skip in range(min(len(parts), 3))]
        tails += [tail.with_suffix(".dcm") for tail in tails]
        place = next((tail for tail in tails if tail.is_file()), None)
        if place is None:
            if files is None:
                files = defaultdict(list)
                for file in sorted(root.rglob("*")):
                    if file.is_file():
                        files[_stem(file.name)].append(file)
            there = files.get(_stem(path), [])
            same = [file for file in there if parts and file.name == parts[-1]] or there
            place = same[0] if len(same) == 1 and wanted[_stem(path)] == 1 else None
        found.append(place)
    return found


def _stem(path: str) -> str:
    """The file's name without the ending of an image; an identifier with dots in it stays whole."""
    name = Path(path.replace("\\", "/")).name
    return Path(name).stem if Path(name).suffix.lower() in FILM_ENDINGS else name


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
                raise TableError(f"row {row + 1}, column {layout.findings}: {error}") from error
        return values
    for name, column in layout.labels.items():
        cells = table[column].replace(r"^\s*$", np.nan, regex=True)
        numbers = pd.to_numeric(cells, errors="coerce")
        wrong = (cells.notna() & ~numbers.isin((1, 0, -1))).to_numpy()
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise TableError(f"row {row + 1}, column {column}: {cells.iloc[row]!r} is no 1, 0, -1 or blank")
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
    """A number that a table kept as float ("10000032.0") as it was written."""
    return re.sub(r"\.0+$", "", text)
