"""Results as DICOM objects: written for films made here, read back with pydicom and highdicom."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from hf_pneumo.imaging.reader import XrayReadError, read_xray
from hf_pneumo.serving.dicom_export import DicomOutError, finding_code, write_dicom_result

MODEL = {"model": "user/pneumonia", "revision": "0123456789abcdef"}


@pytest.fixture
def film(tmp_path: Path) -> Path:
    dataset = Dataset()
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(dataset, name, generate_uid())
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName, dataset.PatientID, dataset.PatientSex = "Müller^Änne", "ID-7", "F"
    dataset.PatientBirthDate, dataset.StudyDate, dataset.StudyTime = "19600102", "20200304", "101112"
    dataset.AccessionNumber, dataset.StudyID, dataset.ReferringPhysicianName = "A1", "S1", "Doe^J"
    dataset.Modality, dataset.ViewPosition, dataset.PatientOrientation = "CR", "PA", ["L", "F"]
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 60, 50, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = np.arange(3000, dtype=np.uint16).tobytes()
    return save(dataset, tmp_path / "film.dcm")


def save(dataset: Dataset, path: Path) -> Path:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


def write(film: Path, out: Path, **changes: object) -> tuple[Path, ...]:
    overlay = np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    arguments = {"probabilities": {"PNEUMONIA": 0.75, "Lung Opacity": 0.125}, **MODEL, **changes}
    return write_dicom_result(film, arguments.pop("overlay", overlay), out, **arguments).paths


def test_both_objects_belong_to_the_film_s_study(film: Path, tmp_path: Path) -> None:
    original = pydicom.dcmread(film)
    paths = write(film, tmp_path / "out")
    assert [path.name.rpartition("-")[2] for path in paths] == ["heatmap.dcm", "report.dcm"]
    heatmap, report = map(pydicom.dcmread, paths)
    for result in (heatmap, report):
        for name in ("StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate",
                     "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"):  # fmt: skip
            assert str(result[name].value) == str(original[name].value), name
        assert result.SeriesInstanceUID != original.SeriesInstanceUID
        assert result.SOPInstanceUID != original.SOPInstanceUID
        assert (result.Manufacturer, result.ManufacturerModelName) == ("hf_pneumo", "user/pneumonia")
    assert heatmap.SeriesInstanceUID != report.SeriesInstanceUID


def test_the_heatmap_is_a_secondary_capture_of_the_overlay(film: Path, tmp_path: Path) -> None:
    overlay = np.random.default_rng(1).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    heatmap = pydicom.dcmread(write(film, tmp_path, overlay=overlay, method="gradcam")[0])
    assert heatmap.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
    np.testing.assert_array_equal(heatmap.pixel_array, overlay)
    assert heatmap.SourceImageSequence[0].ReferencedSOPInstanceUID == pydicom.dcmread(film).SOPInstanceUID
    assert heatmap.SeriesDescription == "Heatmap gradcam"
    assert list(heatmap.PatientOrientation) == ["L", "F"]
    assert read_xray(tmp_path / heatmap_name(tmp_path)).pixels.shape == (60, 50)


def heatmap_name(folder: Path) -> str:
    return next(folder.glob("*-heatmap.dcm")).name


def test_the_report_holds_probabilities_verdicts_boxes_and_the_model(film: Path, tmp_path: Path) -> None:
    box = (10, 20, 15.5, 30, 0.5)
    path = write(film, tmp_path, verdicts={"PNEUMONIA": "positive"}, boxes=[box], box_finding="PNEUMONIA")[1]
    report = hd.sr.srread(path)
    assert isinstance(report, hd.sr.ComprehensiveSR)
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    first, second = report.content.get_image_measurement_groups()
    assert first.finding_type == finding_code("PNEUMONIA") == hd.sr.CodedConcept("233604007", "SCT", "Pneumonia")
    assert first.get_measurements(name=codes.DCM.Probability)[0].value == 0.75
    assert first.get_qualitative_evaluations()[0].value == codes.SCT.Present
    assert second.finding_type == hd.sr.CodedConcept("112001", "DCM", "Opacity")
    assert second.get_measurements()[0].value == 0.125 and not second.get_qualitative_evaluations()
    (region,) = report.content.get_planar_roi_measurement_groups()
    outline = [[10, 20], [25.5, 20], [25.5, 50], [10, 50], [10, 20]]
    np.testing.assert_allclose(region.roi.value, outline)
    assert region.get_measurements()[0].value == 0.5
    text = str(report)
    assert "user/pneumonia" in text and "0123456789abcdef" in text
    assert report.CurrentRequestedProcedureEvidenceSequence[0].StudyInstanceUID == report.StudyInstanceUID


def test_a_result_that_is_written_again_is_the_same_object(film: Path, tmp_path: Path) -> None:
    first = write(film, tmp_path / "out")
    before = uids(first)
    assert write(film, tmp_path / "out") == first and uids(first) == before
    assert sorted((tmp_path / "out").iterdir()) == sorted(first)


@pytest.mark.parametrize(
    "change",
    [{"model": "user/other"}, {"revision": "fedcba"}, {"probabilities": {"PNEUMONIA": 0.76}}, {"method": "layercam"}],
    ids=lambda change: next(iter(change)),
)
def test_another_result_of_the_same_film_is_another_object(film: Path, tmp_path: Path, change: dict) -> None:
    one, other = uids(write(film, tmp_path)), uids(write(film, tmp_path, **change))
    assert not set(one) & set(other) and len(set(one)) == 4


def uids(paths: tuple[Path, ...]) -> list[str]:
    results = [pydicom.dcmread(path) for path in paths]
    return [uid for result in results for uid in (result.SOPInstanceUID, result.SeriesInstanceUID)]


def test_a_film_with_bare_identity(film: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(film)
    for name in ("PatientName", "PatientID", "PatientSex", "PatientBirthDate", "StudyDate", "StudyTime", "StudyID",
                 "AccessionNumber", "ReferringPhysicianName", "PatientOrientation",
                 "SpecificCharacterSet"):  # fmt: skip
        del dataset[name]
    heatmap, report = map(pydicom.dcmread, write(save(dataset, tmp_path / "bare.dcm"), tmp_path / "out"))
    assert heatmap.StudyInstanceUID == report.StudyInstanceUID == dataset.StudyInstanceUID
    assert heatmap.PatientID == "" and not heatmap.PatientOrientation


def test_a_film_outside_any_study_gets_one_of_its_own(film: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(film)
    series = dataset.SeriesInstanceUID
    del dataset.StudyInstanceUID
    loose = save(dataset, tmp_path / "loose.dcm")
    heatmap, report = map(pydicom.dcmread, write(loose, tmp_path / "out"))
    assert heatmap.StudyInstanceUID == report.StudyInstanceUID and heatmap.StudyInstanceUID.is_valid
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    assert study.ReferencedSeriesSequence[0].SeriesInstanceUID == series
    again, _ = map(pydicom.dcmread, write(loose, tmp_path / "out"))
    assert (again.StudyInstanceUID, again.SOPInstanceUID) == (heatmap.StudyInstanceUID, heatmap.SOPInstanceUID)
    dataset.SOPInstanceUID = generate_uid()
    other, _ = map(pydicom.dcmread, write(save(dataset, tmp_path / "other.dcm"), tmp_path / "out"))
    assert other.StudyInstanceUID != heatmap.StudyInstanceUID


def test_a_film_without_a_uid_is_refused_unless_its_file_has_it(film: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(film)
    uid = dataset.SOPInstanceUID
    del dataset.SOPInstanceUID
    dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.save_as(tmp_path / "filed.dcm", enforce_file_format=True)
    heatmap, _ = map(pydicom.dcmread, write(tmp_path / "filed.dcm", tmp_path / "out"))
    assert heatmap.SourceImageSequence[0].ReferencedSOPInstanceUID == uid
    del dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.save_as(tmp_path / "loose.dcm")
    with pytest.raises(DicomOutError, match="The film lacks SOPInstanceUID, so no result can be filed beside it"):
        write(tmp_path / "loose.dcm", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_results_of_two_patients_whose_films_bear_one_uid_are_two(film: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(film)
    dataset.PatientID = "ID-8"
    one, other = uids(write(film, tmp_path)), uids(write(save(dataset, tmp_path / "other.dcm"), tmp_path))
    assert not set(one) & set(other)


def test_invalid_values_are_left_empty_and_never_quoted(
    film: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    dataset = pydicom.dcmread(film)
    with warnings.catch_warnings(action="ignore"):
        dataset.PatientSex, dataset.StudyDate, dataset.PatientName = "female", "4 March", "Single"
        broken = save(dataset, tmp_path / "broken.dcm")
    heatmap, _ = map(pydicom.dcmread, write(broken, tmp_path / "out"))
    assert (heatmap.PatientSex, heatmap.StudyDate, heatmap.PatientName) == ("", "", "Single")
    assert not [warning for warning in recwarn if "Single" in str(warning.message)]


def test_a_picture_is_no_dicom_object(tmp_path: Path) -> None:
    (tmp_path / "film.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(XrayReadError):
        write(tmp_path / "film.png", tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overlay": np.zeros((60, 50), np.uint8)}, r"`overlay` is uint8 \(60, 50\)"),
        ({"probabilities": {}}, "`probabilities` is empty"),
        ({"probabilities": {"PNEUMONIA": 1.5}}, "gives PNEUMONIA 1.5"),
        ({"verdicts": {"PNEUMONIA": "maybe"}}, "'maybe'; allowed are positive, negative, uncertain"),
        ({"boxes": [(0, 0, 5, 5, 1.0)]}, "`box_finding` is missing"),
        ({"boxes": [(40, 0, 20, 5, 1.0)], "box_finding": "PNEUMONIA"}, "the film has 50 x 60 pixels"),
    ],
)
def test_wrong_arguments_are_named(film: Path, tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(DicomOutError, match=message):
        write(film, tmp_path / "out", **changes)


def test_a_label_without_a_code_is_a_finding_of_that_name(film: Path, tmp_path: Path) -> None:
    report = hd.sr.srread(write(film, tmp_path, probabilities={"Pleural Other": 0.5})[1])
    (group,) = report.content.get_image_measurement_groups()
    assert group.finding_type == hd.sr.CodedConcept("121071", "DCM", "Finding")
    assert group.tracking_identifier == "Pleural Other"


def test_boxes_on_a_film_made_square_lie_in_its_stored_pixels(film: Path, tmp_path: Path) -> None:
    square = np.zeros((120, 50, 3), np.uint8)  # the film's pixels are twice as high as wide
    boxes = {"boxes": [(5, 20, 10, 40, 0.5)], "box_finding": "PNEUMONIA"}
    report = hd.sr.srread(write(film, tmp_path, overlay=square, **boxes)[1])
    (region,) = report.content.get_planar_roi_measurement_groups()
    np.testing.assert_allclose(region.roi.value, [[5, 10], [15, 10], [15, 30], [5, 30], [5, 10]])


@pytest.mark.skipif("HF_PNEUMO_TEST_DATA" not in os.environ, reason="needs the real films")
def test_real_films(tmp_path: Path) -> None:
    for film in sorted((Path(os.environ["HF_PNEUMO_TEST_DATA"]) / "dicom").glob("*.dcm")):
        heatmap, report = map(pydicom.dcmread, write(film, tmp_path / film.stem))
        assert heatmap.StudyInstanceUID == report.StudyInstanceUID == pydicom.dcmread(film, force=True).StudyInstanceUID
