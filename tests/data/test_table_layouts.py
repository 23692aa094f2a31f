"""The layouts of CheXpert, MIMIC-CXR-JPG and ChestX-ray14, on small tables with their real column names."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hf_pneumo.data.chestxray14 import CHEXPERT_NOT_IN_NIH, NIH_FINDINGS, nih_labels, parse_findings
from hf_pneumo.data.observations import CHEXPERT_14
from hf_pneumo.data.table_layouts import TableError, detect_layout, resolve_images, table_rows

CHEXPERT = """Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,\
Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,\
Support Devices
CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,,,,,,,,0.0,,,,1.0
CheXpert-v1.0-small/train/patient00002/study2/view2_lateral.jpg,Unknown,87,Lateral,,,,-1.0,1.0,,-1.0,,,,,,,1.0,
"""
MIMIC = """dicom_id,subject_id,study_id,ViewPosition,Atelectasis,Cardiomegaly,Consolidation,Edema,\
Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,No Finding,Pleural Effusion,Pleural Other,Pneumonia,\
Pneumothorax,Support Devices
02aa804e-bde0afdd,10000032,50414267,PA,,,,,,,,,1.0,,,-1.0,,
174413ec-4ec4c1f7,10000032,50414267,LL,1.0,,,,,,,,,0.0,,,,
"""
NIH = """Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width
00000001_000.png,Cardiomegaly|Emphysema,0,1,58,M,PA,2682
00000002_001.png,No Finding,1,2,411,F,AP,2500
00000003_000.png,Effusion|Pleural_Thickening|Nodule,0,3,058Y,F,PA,2500
"""


def rows_of(text: str, **options: object) -> list:
    return table_rows(pd.read_csv(io.StringIO(text), **options))


def value(row: dict, name: str) -> float:
    return row["labels"][CHEXPERT_14.index(name)]


def test_chexpert() -> None:
    assert detect_layout(CHEXPERT.splitlines()[0].split(",")).name == "chexpert"
    first, second = rows_of(CHEXPERT)
    assert first["image_path"].endswith("patient00001/study1/view1_frontal.jpg")
    assert (first["patient"], first["view"], first["age"], first["sex"]) == ("patient00001", "AP", 68, "F")
    assert (value(first, "No Finding"), value(first, "Pneumothorax"), value(first, "Support Devices")) == (1, 0, 1)
    assert np.isnan(value(first, "Edema"))
    assert (second["view"], second["sex"]) == ("LATERAL", "")
    # CheXpert's file has Lung Opacity before Lung Lesion
    assert value(second, "Lung Opacity") == 1 and np.isnan(value(second, "Lung Lesion"))
    assert (value(second, "Cardiomegaly"), value(second, "Edema"), value(second, "Fracture")) == (-1, -1, 1)


def test_chexpert_read_as_text_gives_the_same() -> None:
    for numbers, texts in zip(rows_of(CHEXPERT), rows_of(CHEXPERT, dtype=str, keep_default_na=False), strict=True):
        np.testing.assert_array_equal(numbers.pop("labels"), texts.pop("labels"))
        assert numbers == texts


def test_mimic_cxr() -> None:
    first, second = rows_of(MIMIC)
    assert first["image_path"] == "files/p10/p10000032/s50414267/02aa804e-bde0afdd.jpg"
    assert (first["patient"], first["view"], first["age"], second["view"]) == ("10000032", "PA", None, "LATERAL")
    assert (value(first, "Pneumonia"), value(second, "Atelectasis"), value(second, "Pleural Effusion")) == (-1, 1, 0)
    labels_alone = ["subject_id", "study_id", *CHEXPERT_14]
    with pytest.raises(TableError, match="join MIMIC-CXR's labels with its metadata"):
        detect_layout(labels_alone)


def test_nih_data_entry() -> None:
    assert detect_layout(NIH.splitlines()[0].split(",")).name == "nih"
    first, second, third = rows_of(NIH)
    assert (first["patient"], first["view"], first["age"], first["sex"]) == ("1", "PA", 58, "M")
    assert (second["age"], third["age"]) == (None, 58)
    assert (value(first, "Cardiomegaly"), value(first, "Pleural Effusion"), value(first, "No Finding")) == (1, 0, 0)
    assert value(second, "No Finding") == 1
    assert (value(third, "Pleural Effusion"), value(third, "Pleural Other"), value(third, "Lung Lesion")) == (1, 1, 1)
    assert all(np.isnan(value(second, name)) for name in CHEXPERT_NOT_IN_NIH)


def test_any_table_with_files_and_labels() -> None:
    table = pd.DataFrame({"Image": ["a_1.dcm", "a_2.dcm"], "pneumonia": ["1", ""], "Edema": ["-1", "0"]})
    layout = detect_layout(table.columns)
    assert (layout.name, layout.labels) == ("columns", {"Edema": "Edema", "Pneumonia": "pneumonia"})
    first, second = table_rows(table, layout)
    assert (first["patient"], value(first, "Pneumonia"), value(first, "Edema")) == ("a_1", 1, -1)
    assert np.isnan(value(second, "Pneumonia")) and np.isnan(value(second, "No Finding"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["image", "score"], "`columns` are image, score; none is an observation"),
        (["Pneumonia", "Edema"], "none names files"),
    ],
)
def test_tables_that_say_too_little(columns: list[str], message: str) -> None:
    with pytest.raises(TableError, match=message):
        detect_layout(columns)


def test_wrong_cells_are_named_by_row() -> None:
    with pytest.raises(TableError, match="row 2, column Edema: 'yes' is no 1, 0, -1 or blank"):
        table_rows(pd.DataFrame({"path": ["a", "b"], "Edema": ["1", "yes"]}))
    with pytest.raises(TableError, match="row 1, column findings: `findings` holds Cold"):
        table_rows(pd.DataFrame({"path": ["a"], "findings": ["Cold|Mass"]}))


def test_findings_of_nih() -> None:
    assert parse_findings(" Mass | Nodule|") == ("Mass", "Nodule")
    assert len(NIH_FINDINGS) == 15
    infiltration = dict(zip(CHEXPERT_14, nih_labels(("Infiltration",)), strict=True))
    assert infiltration["Lung Opacity"] == 1 and infiltration["Consolidation"] == 0
    edema = dict(zip(CHEXPERT_14, nih_labels(("edema",)), strict=True))
    assert np.isnan(edema["Lung Opacity"]) and edema["Edema"] == 1
    clear = dict(zip(CHEXPERT_14, nih_labels(("No Finding",)), strict=True))
    assert clear["Lung Opacity"] == 0 and clear["No Finding"] == 1
    assert nih_labels(("Hernia",))[CHEXPERT_14.index("No Finding")] == 0


def test_files_are_found_by_path_tail_and_name(tmp_path: Path) -> None:
    for place in ("train/patient00001/view.jpg", "images_003/images/00000001_000.png"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
    wanted = ["CheXpert/train/patient00001/view.jpg", "00000001_000.png", "nowhere.png"]
    found = resolve_images(wanted, tmp_path)
    assert [place and place.relative_to(tmp_path).as_posix() for place in found] == [
        "train/patient00001/view.jpg",
        "images_003/images/00000001_000.png",
        None,
    ]


@pytest.mark.skipif("HF_PNEUMO_TEST_DATA" not in os.environ, reason="needs the real films")
def test_the_real_nih_table() -> None:
    folder = Path(os.environ["HF_PNEUMO_TEST_DATA"]) / "nih512"
    rows = table_rows(pd.read_csv(folder / "labels.csv"))
    assert all(place is not None for place in resolve_images([row["image_path"] for row in rows], folder))
    labels = np.stack([row["labels"] for row in rows])
    assert (labels[:, CHEXPERT_14.index("Pneumonia")] == 1).sum() > 100
    assert {row["view"] for row in rows} <= {"PA", "AP", "LATERAL", ""}
