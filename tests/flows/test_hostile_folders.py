"""Whole runs over 500 files with hostile names, contents and layouts: nothing lost, nothing overwritten, all counted.

The folders are drawn from seeds, so that a failure comes back.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pandas as pd
import pydicom
import pytest
import torch
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from hf_pneumo.cli import evaluate as evaluate_script
from hf_pneumo.cli import explain as explain_script
from hf_pneumo.cli import predict as predict_script
from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.files import read_json
from hf_pneumo.imaging.film_folder import open_film_folder
from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.checkpoint import save
from hf_pneumo.models.classifier import build
from hf_pneumo.models.config import CheckpointConfig
from hf_pneumo.training.config import TrainConfig
from hf_pneumo.training.run import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick")]

FILES, SIDE = 500, 72
UID = generate_uid()  # careless tools give one to many films

STEMS = [
    b"IM0001", b"film", b"FILM", b"Thorax_\xe4", b"Thorax_\xff\xfe", b"two\nlines", b"tab\tand\r", "ü".encode(),
    "u\u0308".encode(), "胸部".encode(), b"a b", b" leading", b"trailing ", b"-x", b"--output", b"a,b;c", b'"quoted"',
    b"it's", b"$HOME", b"%41", b"a-findings", b"explanations", b"scores", b"x" * 240, b"y" * 240, b"00", b"007", b"7",
    b"1.2.840.113619.2.5.78", b"12e3", b"None", b"N/A", b"nan", b"CON", b"..dots", b"a\\b", b"<b>", b"*", b"?", b"[1]",
    b"#", b"film.png",
]  # fmt: skip
FOLDERS = [b"", b"P1", b"P2", b"p1", b"P1/deep/er", b"S\xe9rie", b"new\nline", b"a b", b"set_a.d", b"x" * 200, b"-rf"]
# What a film may be called: by its ending, by another's, by none.
ENDINGS = [b".png", b".PNG", b".jpg", b".dcm", b".ima", b".tif", b".jfif", b"", b".78", b".png.bak"]


def picture(rng: np.random.Generator) -> np.ndarray:
    return np.rint(255 * make_phantom(int(rng.integers(2**31)), size=SIDE).pixels).astype(np.uint8)


def encoded(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def dicom(pixels: np.ndarray, uid: str) -> bytes:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.Modality, dataset.PatientID, dataset.PatientName = "CR", "1", "A^B"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelData = 7, pixels.tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


# Of every kind: how it is made, and whether it can be read as a film.
CONTENTS = {
    "png": (lambda rng: encoded(picture(rng), "png"), True),
    "deep png": (lambda rng: encoded(picture(rng).astype(np.uint16) * 257, "png"), True),
    "jpeg": (lambda rng: encoded(picture(rng), "jpeg"), True),
    "tiff": (lambda rng: encoded(picture(rng), "tiff"), True),
    "dicom": (lambda rng: dicom(picture(rng), generate_uid()), True),
    "dicom of one uid": (lambda rng: dicom(picture(rng), UID), True),
    "the same film": (lambda rng: encoded(picture(np.random.default_rng(0)), "png"), True),
    "the same dicom": (lambda rng: SAME, True),
    "white page": (lambda rng: encoded(np.full((SIDE, SIDE), 255, np.uint8), "png"), True),
    "noise": (lambda rng: encoded(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8), "png"), True),
    "cut short": (lambda rng: encoded(picture(rng), "png")[:200], False),
    "cut dicom": (lambda rng: dicom(picture(rng), generate_uid())[:900], False),
    "empty": (lambda rng: b"", False),
    "text": (lambda rng: b"these are notes, not a film\n", False),
    "table": (lambda rng: b"file,label\n1.png,1\n", False),
    "pdf": (lambda rng: b"%PDF-1.7\n", False),
}
SAME = dicom(picture(np.random.default_rng(1)), UID)


def written(folder: Path, name: bytes, content: bytes) -> bool:
    path = os.path.join(os.fsencode(folder), name)
    if len(os.path.basename(path)) > 255 or os.path.exists(path):
        return False
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(content)
    return True


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = CheckpointConfig("test_resnet", PNEUMONIA, Preprocess(size=(32, 32)))
    return save(tmp_path_factory.mktemp("checkpoint") / "tiny", build("test_resnet", 2), config)


@pytest.fixture(scope="module", params=range(2))
def hostile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Any name, content and place together; links to a folder outside, to a folder inside and to what lies above."""
    rng = np.random.default_rng(request.param)
    folder = tmp_path_factory.mktemp("hostile") / "in"
    kinds, count = list(CONTENTS), 0
    while count < FILES:
        parts = [
            FOLDERS[rng.integers(len(FOLDERS))],
            STEMS[rng.integers(len(STEMS))] + ENDINGS[rng.integers(len(ENDINGS))],
        ]
        kind = kinds[rng.integers(len(kinds))]
        count += written(folder, b"/".join(filter(None, parts)), CONTENTS[kind][0](rng))
    outside = folder.with_name("outside")
    written(outside, b"linked\xe4.png", CONTENTS["png"][0](rng))
    (folder / "link").symlink_to(outside, target_is_directory=True)
    (folder / "P1/loop").symlink_to(folder, target_is_directory=True)
    (folder / "again").symlink_to(folder / "P2", target_is_directory=True)
    (folder / "broken.png").symlink_to(folder / "nothing")
    return folder


def test_predict_gives_every_film_a_row_and_names_the_rest(
    checkpoint: Path, hostile: Path, tmp_path: Path, capsys
) -> None:
    found = open_film_folder(hostile)
    seen = {os.fsencode(p) for p in found.films} | {os.fsencode(p) for group in found.others.values() for p in group}
    assert len(seen) + found.hidden == FILES + 2  # the linked film and the broken link
    words = [str(checkpoint), str(hostile), str(tmp_path / "scores.csv")]
    predict_script.run(predict_script.Arguments(*words, dicom_out=str(tmp_path / "out")))
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    told = [unquote_to_bytes(r["uri"].removeprefix("file://")) if r["uri"] else os.fsencode(r["file"]) for r in rows]
    assert told == [os.fsencode(path) for path in found.films]
    assert all(row["file"].isprintable() for row in rows)
    counts = Counter(row["status"] for row in rows)
    assert min(counts[status] for status in ("judged", "not judged", "error")) > 20
    for row in rows:
        assert bool(row["probability"]) == bool(row["verdict"]) == (row["status"] == "judged") != bool(row["reason"])
    filed = [row["status"] for row, path in zip(rows, told, strict=True) if is_dicom(row, path)]
    objects = list((tmp_path / "out").iterdir())
    assert len(objects) == 2 * filed.count("judged") + filed.count("not judged") > 50
    said = {(dataset.SOPInstanceUID, without_moment(dataset)) for dataset in map(pydicom.dcmread, objects)}
    assert len(said) == len({uid for uid, _ in said})  # objects of one UID say the same: they are one film's
    printed = capsys.readouterr().out
    assert f"{counts['judged']} judged, {counts['not judged']} not judged, {counts['error']} with an error" in printed
    assert f"left alone {sum(map(len, found.others.values()))} files" in printed


def without_moment(dataset: Dataset) -> str:
    """All that an object says, but for when it was written."""
    for name in ("InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime", "DateOfSecondaryCapture",
                 "TimeOfSecondaryCapture", "ContributingEquipmentSequence"):  # fmt: skip
        if name in dataset:
            del dataset[name]
    return dataset.to_json()


def is_dicom(row: dict[str, str], path: bytes) -> bool:
    if row["status"] == "error":
        return False
    with open(path, "rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def test_explain_leaves_one_map_for_each_judged_film(checkpoint: Path, hostile: Path, tmp_path: Path) -> None:
    films = open_film_folder(hostile).films
    arguments = explain_script.Arguments(
        str(checkpoint), str(hostile), str(tmp_path), method="eigencam", all_findings=True
    )
    explain_script.run(arguments)
    rows = json.loads((tmp_path / "explanations.json").read_text(encoding="utf-8"))
    assert len(rows) == len(films)
    judged = sum(row["status"] == "judged" for row in rows)
    names = [path.name for path in tmp_path.iterdir()]
    assert sum(name.endswith(".npy") for name in names) == judged > 50
    assert len(names) == 3 * judged + 1  # map, overlay and findings of each, and the list
    assert not [name for name in names if name.endswith(".part")]


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 files in class folders: every stem but those that differ in case or not at all as text."""
    rng = np.random.default_rng(5)
    folder = tmp_path_factory.mktemp("classes") / "films"
    alike = ("the same film", "the same dicom", "white page")  # one film in two classes is refused, and rightly
    readable = [kind for kind, (_, is_film) in CONTENTS.items() if is_film and kind not in alike]
    count = 0
    while count < FILES:
        kind = readable[rng.integers(len(readable))] if rng.random() < 0.9 else "cut short"
        stem, ending = STEMS[rng.integers(len(STEMS))], ENDINGS[rng.integers(len(ENDINGS) - 1)]
        place = (b"NORMAL", b"PNEUMONIA")[count % 2]
        count += written(folder, place + b"/" + b"%d_" % count + stem[:200] + ending, CONTENTS[kind][0](rng))
    (folder / "NORMAL/notes.txt").write_text("no film")
    return folder


def test_training_and_evaluation_account_for_every_film(classes: Path, tmp_path: Path) -> None:
    films = open_film_folder(classes).films
    assert len(films) > FILES / 2
    folder = train(
        TrainConfig(
            dataset=str(classes), model="test_resnet", size=32, epochs=1, protocol="paper",
            output=str(tmp_path / "run"), cache=str(tmp_path / "cache"),
        )
    )  # fmt: skip
    told: Counter[str] = Counter()
    failures: list[str] = []
    for subset in ("train", "val", "test"):
        out = tmp_path / subset
        evaluate_script.run(
            evaluate_script.Arguments(
                str(folder),
                str(classes),
                protocol="paper",
                split=subset,
                output=str(out),
                cache=str(tmp_path / "cache"),
            )
        )
        frame, report = pd.read_parquet(out / "predictions.parquet"), read_json(out / "results.json")
        assert len(frame) == report["n"] and frame["logits"].map(np.isfinite).map(np.all).all()
        told.update(frame["file_name"])
        failures = [name for name, _ in report["failures"]]
    assert sum(told.values()) + len(failures) == len(films) and max(told.values()) == 1
    assert all(name.encode() for name in told)  # text, whatever bytes the files' names hold
