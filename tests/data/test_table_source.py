"""Tables as sources: the layouts of CheXpert, MIMIC-CXR-JPG and ChestX-ray14 on small files, with DICOM among them."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom.dataset import Dataset as Dicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from hf_pneumo.data.audit import audit_splits
from hf_pneumo.data.film_cache import decode
from hf_pneumo.data.labels import AETIOLOGY, CHEXPERT, MULTILABEL, PNEUMONIA
from hf_pneumo.data.sources import SourceError, contract, load_xrays, source_name
from hf_pneumo.data.splits import split
from hf_pneumo.data.table_source import only_given, parse_classes
from hf_pneumo.imaging.preprocess import Preprocess

SHAPE = (20, 24)


def write_film(path: Path, shade: int) -> None:
    """A film of one shade with a darker half: a PNG or JPEG, or an 8-bit DICOM file."""
    pixels = np.full(SHAPE, shade, np.uint8)
    pixels[:, :12] //= 2
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".dcm":
        Image.fromarray(pixels).save(path)
        return
    file = Dicom()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.SOPClassUID, file.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    file.Modality, file.SamplesPerPixel, file.PhotometricInterpretation = "DX", 1, "MONOCHROME2"
    file.Rows, file.Columns = SHAPE
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.PixelRepresentation, file.PixelData = 7, 0, pixels.tobytes()
    file.save_as(path, enforce_file_format=True)


def value(row: dict, name: str) -> float:
    return row["label"][CHEXPERT.index(name)]


def chexpert_row(path: str, **labels: object) -> dict:
    blank = dict.fromkeys(CHEXPERT, "")
    view = "Lateral" if "lateral" in path else "Frontal"
    return {"Path": path, "Sex": "Female", "Age": 68, "Frontal/Lateral": view, "AP/PA": "AP", **blank, **labels}


@pytest.fixture
def chexpert(tmp_path) -> Path:
    """CheXpert-v1.0-small: train.csv and valid.csv; a lateral view, a missing file, and one film as DICOM."""
    root = tmp_path / "CheXpert-v1.0-small"
    rows: dict[str, list[dict]] = {"train": [], "valid": []}
    for number in range(1, 13):
        part = "valid" if number > 9 else "train"
        path = f"CheXpert-v1.0-small/{part}/patient{number:05d}/study1/view1_frontal.jpg"
        labels = {"Edema": 1.0, "Pneumonia": -1.0} if number % 2 else {"No Finding": 1.0, "Edema": 0.0}
        rows[part].append(chexpert_row(path, **labels))
        file = tmp_path / path
        write_film(file.with_suffix(".dcm") if number == 3 else file, 10 * number)
    lateral = "CheXpert-v1.0-small/train/patient00001/study1/view2_lateral.jpg"
    write_film(tmp_path / lateral, 99)
    rows["train"].append(chexpert_row(lateral, Edema=1.0))
    rows["train"].append(chexpert_row("CheXpert-v1.0-small/train/patient00077/study1/view1_frontal.jpg", Edema=1.0))
    for part, found in rows.items():
        pd.DataFrame(found).to_csv(root / f"{part}.csv", index=False)
    return root


def test_chexpert(chexpert, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        dataset = load_xrays(str(chexpert), labels=MULTILABEL)
    assert dataset.features == contract(MULTILABEL) and list(dataset.features) == list(contract(MULTILABEL))
    assert len(dataset) == 12
    assert "1 of 14 films that are lateral views" in caplog.text
    assert "1 of 14 films whose files are missing: CheXpert-v1.0-small/train/patient00077" in caplog.text
    first, second = dataset[0], dataset[1]
    assert (first["patient"], first["view"], first["age"], first["sex"]) == ("patient00001", "AP", 68, "F")
    assert (value(first, "Edema"), value(first, "Pneumonia"), value(second, "Pneumonia")) == (1, -1, 0)
    assert np.isnan(value(first, "Fracture"))  # no report says anything of it
    assert [first["subgroup"], second["subgroup"]] == ["finding", "no finding"]
    assert dataset["split"].count("train") == 9 and dataset["split"].count("test") == 3
    films = decode(dataset, Preprocess(size=(8, 8)), cache=tmp_path / "cache", progress=False)
    assert len(films) == 12 and not films.failures  # the DICOM file among them
    parts = split(films.table, "official", MULTILABEL, films.digests)
    assert {films.table["split"][i] for i in parts["test"]} == {"test"} and len(parts["test"]) == 3
    patients = [{films.table["patient"][i] for i in rows} for rows in parts.values()]
    assert not patients[0] & patients[1] and not patients[0] & patients[2] and all(patients)
    counts = audit_splits(films.table, parts, MULTILABEL, films.digests)["classes"]["test"]
    assert counts["Edema"] == 1 and counts["No Finding"] == 2 and counts["Pneumonia"] == 0
    with pytest.raises(SourceError, match="'paper'"):
        split(films.table, "paper", MULTILABEL, films.digests)


def test_the_tables_of_one_set_may_spell_their_columns_differently(chexpert):
    table = pd.read_csv(chexpert / "valid.csv")
    table.rename(columns=str.upper).to_csv(chexpert / "VALID.TSV", sep="\t", index=False)
    (chexpert / "valid.csv").unlink()
    dataset = load_xrays(str(chexpert), labels=MULTILABEL)
    assert len(dataset) == 12 and dataset["split"].count("test") == 3


def test_blanks_are_absent_or_unknown_as_asked(chexpert):
    ignored = load_xrays(str(chexpert), labels=MULTILABEL, blanks="ignore")
    assert np.isnan(value(ignored[1], "Pneumonia")) and value(ignored[1], "Edema") == 0
    with pytest.raises(ValueError, match="`blanks` is 'one'; choose one of zero, ignore"):
        load_xrays(str(chexpert), labels=MULTILABEL, blanks="one")


def test_a_finding_of_chexpert_as_an_exclusive_task(chexpert, caplog):
    dataset = load_xrays(str(chexpert), label_column="Edema")
    assert dataset.features == contract(PNEUMONIA)
    assert dataset["label"][:2] == [1, 0] and dataset[0]["subgroup"] == "1"


def test_a_missing_film_never_takes_a_namesake(chexpert):
    """Every frontal film of CheXpert has the same name: another patient's must not stand in."""
    (chexpert / "train/patient00002/study1/view1_frontal.jpg").unlink()
    dataset = load_xrays(str(chexpert), labels=MULTILABEL)
    assert len(dataset) == 11 and "patient00002" not in dataset["patient"]


def test_mimic_joins_labels_metadata_and_split(tmp_path):
    labels, metadata, parts = [], [], []
    for i in range(6):
        subject, study, film = 10000030 + i, 50000000 + i, f"{i:08x}-aaaaaaaa-bbbb"
        labels.append({"subject_id": subject, "study_id": study, "Edema": 1.0 if i % 2 else "", "Pneumonia": -1.0})
        for view, name in (("PA", film), ("LATERAL", film + "-l")):
            metadata.append({"dicom_id": name, "subject_id": subject, "study_id": study, "ViewPosition": view})
            part = ("train", "validate", "test")[i % 3]
            parts.append({"dicom_id": name, "subject_id": subject, "study_id": study, "split": part})
        ending = ".dcm" if i == 0 else ".jpg"
        write_film(tmp_path / f"files/p10/p{subject}/s{study}/{film}{ending}", 20 * i + 10)
    for name, rows in (("chexpert", labels), ("metadata", metadata), ("split", parts)):
        pd.DataFrame(rows).to_csv(tmp_path / f"mimic-cxr-2.0.0-{name}.csv.gz", index=False)
    dataset = load_xrays(str(tmp_path), labels=MULTILABEL)
    assert len(dataset) == 6 and set(dataset["view"]) == {"PA"}
    assert dataset["split"] == ["train", "val", "test"] * 2
    assert dataset[0]["patient"] == "10000030" and dataset[0]["file_name"].startswith("files/p10/p10000030/s50000000/")
    assert [value(row, "Edema") for row in dataset] == [0, 1] * 3
    assert np.isnan(value(dataset[0], "Fracture"))  # the table has no such column
    kept, given = only_given(dataset, MULTILABEL)
    assert given.names == ("Edema", "Pneumonia") and given.normal is None and not given.exclusive
    assert kept[1]["label"] == [1, -1] and kept.column_names == dataset.column_names
    (tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz").unlink()
    with pytest.raises(SourceError, match="needs the metadata table"):
        load_xrays(str(tmp_path), labels=MULTILABEL)


@pytest.fixture
def nih(tmp_path) -> Path:
    """ChestX-ray14 as published: Data_Entry_2017.csv, images in numbered folders, two lists of names."""
    findings = ("Cardiomegaly|Effusion", "No Finding", "Infiltration", "No Finding")
    rows, lists = [], {"train_val_list.txt": [], "test_list.txt": []}
    for i in range(8):
        name = f"{i:08d}_000.png"
        rows.append(
            {
                "Image Index": name, "Finding Labels": findings[i % 4], "Follow-up #": 0, "Patient ID": i // 2,
                "Patient Age": 411 if i == 0 else 40 + i, "Patient Gender": "M", "View Position": "PA",
            }
        )  # fmt: skip
        lists["train_val_list.txt" if i < 6 else "test_list.txt"].append(name)
        place = tmp_path / f"images_{i % 2 + 1:03d}/images" / name
        write_film(place.with_suffix(".dcm") if i == 5 else place, 20 * i + 10)
    pd.DataFrame(rows).to_csv(tmp_path / "Data_Entry_2017.csv", index=False)
    for name, films in lists.items():
        (tmp_path / name).write_text("\n".join(films) + "\n")
    return tmp_path


def test_nih(nih):
    dataset = load_xrays(str(nih), labels=MULTILABEL)
    assert dataset["split"] == ["train"] * 6 + ["test"] * 2
    first, third = dataset[0], dataset[2]
    assert (first["patient"], first["age"], first["view"], first["sex"]) == ("0", None, "PA", "M")
    assert (value(first, "Pleural Effusion"), value(first, "No Finding"), value(first, "Edema")) == (1, 0, 0)
    assert value(third, "Lung Opacity") == 1 and np.isnan(value(third, "Fracture"))
    _, labels = only_given(dataset, MULTILABEL)
    assert set(CHEXPERT) - set(labels.names) == {"Enlarged Cardiomediastinum", "Fracture", "Support Devices"}


def test_a_list_of_findings_as_an_exclusive_task(nih, caplog):
    dataset = load_xrays(
        str(nih), label_column="Finding Labels", classes={"No Finding": "NORMAL", "Infiltration": "PNEUMONIA"}
    )
    assert dataset["label"] == [0, 1, 0] * 2 and set(dataset["subgroup"]) == {"no finding", "infiltration"}
    assert "left out 2 of 8 rows" in caplog.text and "Cardiomegaly|Effusion (2)" in caplog.text


def table_of(folder: Path, rows: list[dict]) -> str:
    for i, row in enumerate(rows):
        if not row.pop("absent", False):
            write_film(folder / row["image"], 7 * i + 5)
    pd.DataFrame(rows).to_csv(folder / "films.csv", index=False)
    return str(folder / "films.csv")


def test_a_column_of_classes(tmp_path, caplog):
    values = ["Normal", "Lung Opacity", "No Lung Opacity / Not Normal", None, "Lung Opacity"]
    rows = [{"image": f"{i}.png", "rsna_class": v, "sex": "F"} for i, v in enumerate(values)]
    source = table_of(tmp_path, rows)
    dataset = load_xrays(source, label_column="rsna_class", classes={"Normal": "NORMAL", "Lung Opacity": "PNEUMONIA"})
    assert dataset["label"] == [0, 1, 1] and dataset["file_name"] == ["0.png", "1.png", "4.png"]
    assert set(dataset["sex"]) == {"F"} and set(dataset["age"]) == {None}
    assert "left out 2 of 5 rows whose rsna_class is no class of the task" in caplog.text
    assert "No Lung Opacity / Not Normal (1)" in caplog.text and "blank (1)" in caplog.text
    assert source_name(source) == "films.csv"
    assert source_name("/not/yet/there") == "there" and source_name("user/films") == "user/films"
    assert parse_classes("Normal=NORMAL, Lung Opacity=PNEUMONIA") == {"Normal": "NORMAL", "Lung Opacity": "PNEUMONIA"}


@pytest.mark.parametrize(
    ("column", "values", "labels", "expected"),
    [
        ("pneumonia", [0, 1, None, -1], PNEUMONIA, [0, 1]),
        ("label", ["normal", "Pneumonia", "x", "y"], PNEUMONIA, [0, 1]),
        ("class", ["VIRUS", "normal", "bacteria", ""], AETIOLOGY, [2, 0, 1]),
    ],
)
def test_a_class_column_is_found_by_its_name(tmp_path, column, values, labels, expected):
    rows = [{"image": f"p{i}_0.png", column: v} for i, v in enumerate(values)]
    dataset = load_xrays(table_of(tmp_path, rows), labels=labels)
    assert dataset["label"] == expected and dataset[0]["patient"] == "p0"


def test_a_table_of_boxes_counts_each_film_once(tmp_path, caplog):
    rows = [{"image": f"{i // 2}.dcm", "Target": 1 if i < 4 else 0} for i in range(6)]
    with caplog.at_level(logging.INFO):
        dataset = load_xrays(table_of(tmp_path, rows), label_column="Target")
    assert dataset["label"] == [1, 1, 0] and "3 rows name a film once more" in caplog.text


def test_what_cannot_be_used_is_said_with_the_fix(tmp_path):
    rows = [{"image": f"{i}.png", "grade": v, "absent": True} for i, v in enumerate("ab")]
    source = table_of(tmp_path, rows)
    for options, says in (
        ({}, "`label_column` is missing and is not among the table's columns"),
        ({"label_column": "grade"}, "`label_column` 'grade' holds a, b; give `classes`"),
        ({"label_column": "grade", "classes": {"a": "NORMAL"}}, "names no frontal film that is there"),
        ({"label_column": "grade", "classes": {"a": "OPACITY"}}, "this task's labels are NORMAL, PNEUMONIA"),
        ({"labels": MULTILABEL}, "none is an observation of CheXpert"),
    ):
        with pytest.raises(ValueError, match=says):
            load_xrays(source, **options)
    with pytest.raises(SourceError, match="is no table; leave out label_column"):
        load_xrays("phantom:20", label_column="x")
    with pytest.raises(ValueError, match="`classes` is 'a:b'"):
        parse_classes("a:b")


def test_a_path_in_a_table_does_not_reach_the_records(tmp_path):
    write_film(tmp_path / "films/a.png", 50)
    table = pd.DataFrame({"path": [str(tmp_path / "films/a.png")], "Edema": [1]})
    table.to_csv(tmp_path / "t.csv", index=False)
    assert load_xrays(str(tmp_path / "t.csv"), labels=MULTILABEL)["file_name"] == ["a.png"]


def films_of(folder: Path, *names: str) -> None:
    for i, name in enumerate(names):
        write_film(folder / name, 9 * i + 5)


TEXT = "image,label,note\n0.png,0,Müller\n1.png,1,x\n"


@pytest.mark.parametrize("name", ["t.csv", "T.CSV", "t.tsv", "t.txt", "table"])
@pytest.mark.parametrize(
    "raw",
    [
        TEXT.encode(), TEXT.encode("utf-8-sig"), TEXT.encode("utf-16"), TEXT.encode("cp1252"),
        TEXT.replace(",", ";").encode("cp1252"), TEXT.replace(",", "\t").encode("utf-16"),
        TEXT.replace(",", "|").encode(), TEXT.replace("\n", "\r\n\r\n").encode(),
        b'"IMAGE","Label","note"\n"0.png","0","a, ""b"""\n"1.png","1","two\nlines"\n',
    ],
)  # fmt: skip
def test_a_table_is_read_in_every_form_it_is_written_in(tmp_path, name, raw):
    films_of(tmp_path, "0.png", "1.png")
    (tmp_path / name).write_bytes(raw)
    assert load_xrays(str(tmp_path / name))["label"] == [0, 1]


def test_identifiers_are_text(tmp_path):
    patients = ["007", "7", "12e3", "1200e1", "2.10", "2.1", "1.0", "NA", "None", "0x10"]
    films_of(tmp_path, *(f"{i:04d}.png" for i in range(10)))
    rows = "".join(f"{i:04d},{patient},{i % 2}\n" for i, patient in enumerate(patients))
    (tmp_path / "t.csv").write_text("image_id,patient_id,label\n" + rows)
    assert load_xrays(str(tmp_path / "t.csv"))["patient"] == patients


def test_classes_that_look_like_blanks_are_classes_where_they_are_mapped(tmp_path, caplog):
    films_of(tmp_path, *(f"{i}.png" for i in range(5)))
    (tmp_path / "t.csv").write_text("image,finding\n0.png,None\n1.png,N/A\n2.png,Pneumonia\n3.png,\n4.png,nan\n")
    classes = {"None": "NORMAL", "n/a": "NORMAL", "pneumonia": "PNEUMONIA"}
    dataset = load_xrays(str(tmp_path / "t.csv"), label_column="FINDING", classes=classes)
    assert dataset["label"] == [0, 0, 1] and dataset["subgroup"] == ["none", "n/a", "pneumonia"]
    assert "left out 2 of 5 rows whose finding is no class of the task: blank (1), nan (1)" in caplog.text


def test_malformed_rows_are_left_out_and_named(tmp_path, caplog):
    films_of(tmp_path, "0.png", "1.png", "2.png")
    (tmp_path / "t.csv").write_text("image,label\n0.png,0\n1.png,1,too,many\n\n2.png,1\n")
    assert load_xrays(str(tmp_path / "t.csv"))["file_name"] == ["0.png", "2.png"]
    assert "left out 1 of 3 rows of t.csv that are malformed: row 2 (line 3)" in caplog.text
    (tmp_path / "u.csv").write_text("image,Edema\n0.png,1\n\n1.png,maybe\n")
    with pytest.raises(SourceError, match=r"u.csv, row 2 \(line 4\), column Edema: 'maybe'"):
        load_xrays(str(tmp_path / "u.csv"), labels=MULTILABEL)


def test_columns_and_tables_are_named_in_any_case(tmp_path):
    films_of(tmp_path, "a/0.png", "a/1.png")
    rows = "0.png,1,PA,no finding,58\n1.png,2,LL,Effusion,60\n"
    (tmp_path / "DATA_ENTRY_2017.CSV").write_text("IMAGE_INDEX,patient id,View_Position,finding labels,AGE\n" + rows)
    dataset = load_xrays(str(tmp_path), labels=MULTILABEL)
    assert dataset["age"] == [58] and dataset["patient"] == ["1"] and dataset["view"] == ["PA"]


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        (["0,Normal", "0,Pneumonia", "0,Pneumonia", "1,Pneumonia"], [1, 1]),
        (["0,Normal", "0,Pneumonia", "1,Pneumonia", "1,Normal"], [0, 1]),
    ],
)
def test_readers_who_contradict_each_other_are_counted(tmp_path, caplog, rows, labels):
    films_of(tmp_path, "0.png", "1.png")
    (tmp_path / "t.csv").write_text("image_id,class\n" + "\n".join(rows))
    dataset = load_xrays(str(tmp_path / "t.csv"))
    assert dataset["label"] == labels and dataset["subgroup"] == [("normal", "pneumonia")[i] for i in labels]
    (told,) = (r.getMessage() for r in caplog.records if r.levelno == logging.WARNING)
    assert re.match(r"[12] films have rows that contradict each other; what most of its rows say counts", told)


def test_findings_of_several_rows_belong_together(tmp_path, caplog):
    films_of(tmp_path, "0.png", "1.png")
    (tmp_path / "t.csv").write_text("image,findings\n0.png,Effusion\n0.png,Mass\n1.png,No Finding\n1.png,Hernia\n")
    first, second = load_xrays(str(tmp_path / "t.csv"), labels=MULTILABEL)
    assert (value(first, "Pleural Effusion"), value(first, "Lung Lesion"), value(first, "No Finding")) == (1, 1, 0)
    assert value(second, "No Finding") == 0
    assert "1 films have rows that contradict each other; a finding that one row names counts: 1.png" in caplog.text


def test_windows_paths_and_absolute_ones_name_films_but_no_disk(tmp_path):
    films_of(tmp_path, "set_a/P1.png", "set_b/P2.png", "set_b/P3.png")
    paths = ["set_a\\P1.png", "C:\\Users\\x\\set_b\\P2.png", f"{tmp_path}/set_b/P3.png"]
    (tmp_path / "t.csv").write_text("image,label\n" + "".join(f"{path},{i % 2}\n" for i, path in enumerate(paths)))
    dataset = load_xrays(str(tmp_path / "t.csv"))
    assert dataset["file_name"] == ["set_a/P1.png", "P2.png", "P3.png"] and dataset["patient"] == ["P1", "P2", "P3"]


def test_films_are_found_behind_links_under_other_endings_and_encodings(tmp_path, caplog):
    names = ["images/0000.png", "images/e\u0301.png", "masks/0000.png", "images/2.16.84.1.png"]
    films_of(tmp_path / "disk", *names)
    (tmp_path / "disk/images/2.16.84.1.png").rename(tmp_path / "disk/images/2.16.84.1")
    (tmp_path / "disk/images/0000.txt").write_text("report")
    (tmp_path / "set").mkdir()
    for part in ("images", "masks"):
        (tmp_path / "set" / part).symlink_to(tmp_path / "disk" / part)
    rows = f"0000,0\n\u00e9.jpg,1\n2.16.84.1,1\n{'l' * 300},0\n,1\n"
    (tmp_path / "set/labels.csv").write_text("image_id,label\n" + rows, encoding="utf-8")
    assert load_xrays(str(tmp_path / "set"))["label"] == [0, 1, 1]
    assert "left out 2 of 5 films whose files are missing: lll" in caplog.text and "blank" in caplog.text


def test_splits_that_a_table_calls_otherwise_are_told(tmp_path, caplog):
    films_of(tmp_path, "0.png", "1.png", "2.png")
    (tmp_path / "t.csv").write_text("image,label,Split\n0.png,0,TRAIN\n1.png,1,holdout\n2.png,1,dev\n")
    assert load_xrays(str(tmp_path / "t.csv"))["split"] == ["train", "", "val"]
    assert "1 rows have a Split that is none of train, val, test: holdout (1)" in caplog.text


@pytest.mark.skipif("HF_PNEUMO_TEST_DATA" not in os.environ, reason="needs the real films")
def test_the_real_nih_films():
    folder = str(Path(os.environ["HF_PNEUMO_TEST_DATA"]) / "nih512")
    dataset, labels = only_given(load_xrays(folder, labels=MULTILABEL), MULTILABEL)
    assert len(dataset) == 502 and len(labels.names) == 11
    parts = split(dataset, "strict", labels, [str(i) for i in range(502)])
    patients = [{dataset["patient"][i] for i in rows} for rows in parts.values()]
    assert not patients[0] & patients[1] and not patients[1] & patients[2] and not patients[0] & patients[2]
    classes = {"Normal": "NORMAL", "Lung Opacity": "PNEUMONIA"}
    opacity = load_xrays(folder, label_column="rsna_class", classes=classes)
    assert (len(opacity), sum(opacity["label"])) == (98, 66)
