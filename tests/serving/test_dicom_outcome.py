"""What became of a film is filed beside it: a finding with its map, or the report that it was not judged."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from hf_pneumo.data.labels import MULTILABEL
from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.imaging.reader import read_xray
from hf_pneumo.models.checkpoint import load, save
from hf_pneumo.models.classifier import build
from hf_pneumo.models.config import CheckpointConfig, OperatingPoint
from hf_pneumo.serving.dicom_export import finding_code
from hf_pneumo.serving.dicom_outcome import write_outcome
from hf_pneumo.serving.predictor import Predictor

UNDETERMINED = codes.DCM.PresenceUndetermined.meaning
SHARED_UID = generate_uid()


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    torch.manual_seed(0)
    films = tuple((9, 99) if name == "Edema" else (20, 20) for name in MULTILABEL.names)
    point = OperatingPoint(thresholds=(0.0,) * 14, fitted_on="made-up/val", evidence=films)
    config = CheckpointConfig("test_resnet", MULTILABEL, Preprocess(size=(64, 64)), operating_point=point)
    return Predictor(load(save(tmp_path_factory.mktemp("c"), build("test_resnet", 14), config)))


def film(path: Path, pixels: np.ndarray, **elements: object) -> Path:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, SHARED_UID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.SpecificCharacterSet, dataset.PatientName, dataset.PatientID = "ISO_IR 192", "Müller^Änne", "ID-7"
    dataset.PatientBirthDate = dataset.PatientSex = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20200304", "101112", "S1"
    dataset.Modality, dataset.ViewPosition, dataset.PatientOrientation = "CR", "PA", ["L", "F"]
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelData = 7, pixels.astype(np.uint8).tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def phantom(seed: int) -> np.ndarray:
    return np.rint(255 * make_phantom(seed, size=96).pixels)


def evaluations(report: Path) -> dict[str, list[str]]:
    """By what each group is of: the meanings of its qualitative evaluations."""
    groups = hd.sr.srread(report).content.get_image_measurement_groups()
    return {g.finding_type.meaning: [e.value.meaning for e in g.get_qualitative_evaluations()] for g in groups}


def test_a_film_that_is_not_judged_has_a_report_alone(predictor: Predictor, tmp_path: Path) -> None:
    path = film(tmp_path / "page.dcm", np.full((96, 96), 255))
    outcome = predictor.predict(path)
    (report,) = write_outcome(path, outcome, tmp_path / "out").paths
    assert list(evaluations(report).values()) == [[UNDETERMINED]]
    (group,) = hd.sr.srread(report).content.get_image_measurement_groups()
    assert not group.get_measurements()
    assert group.tracking_identifier.startswith("Not judged (no content): ") and "nothing" in group.tracking_identifier


def test_a_lateral_view_is_not_judged(predictor: Predictor, tmp_path: Path) -> None:
    path = film(tmp_path / "side.dcm", phantom(1), ViewPosition="LL")
    (report,) = write_outcome(path, predictor.predict(path), tmp_path / "out").paths
    (group,) = hd.sr.srread(report).content.get_image_measurement_groups()
    assert group.tracking_identifier.startswith("Not judged (lateral): ")


def test_a_label_without_a_verdict_says_so(predictor: Predictor, tmp_path: Path) -> None:
    path = film(tmp_path / "film.dcm", phantom(1))
    _, report = write_outcome(path, predictor.predict(path), tmp_path / "out").paths
    told = evaluations(report)
    assert told[finding_code("Edema").meaning] == [UNDETERMINED]
    assert told[finding_code("Pneumonia").meaning] == ["Present"]
    assert told[finding_code("No Finding").meaning] == ["Absent"]


def test_films_of_one_name_and_one_uid_leave_each_other_alone(predictor: Predictor, tmp_path: Path) -> None:
    paths = [film(tmp_path / f"P{n}/IM0001.dcm", phantom(n)) for n in (1, 2)]
    written = {p: write_outcome(p, predictor.predict(read_xray(p)), tmp_path / "out").paths for p in paths}
    assert len(list((tmp_path / "out").iterdir())) == 4
    for path, (_, report) in written.items():
        assert pydicom.dcmread(report).StudyInstanceUID == pydicom.dcmread(path).StudyInstanceUID


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (apt: dicom3tools) is not installed")
def test_both_reports_conform_to_the_standard(predictor: Predictor, tmp_path: Path) -> None:
    for name, pixels in (("page.dcm", np.zeros((96, 96))), ("film.dcm", phantom(3))):
        path = film(tmp_path / name, pixels)
        for written in write_outcome(path, predictor.predict(path), tmp_path / "out").paths:
            told = subprocess.run(["dciodvfy", str(written)], capture_output=True, text=True).stderr
            assert "Error" not in told, told
