"""What is written beside a film conforms to the standard, whatever the film's header holds: dciodvfy says nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from hf_pneumo.data.labels import MULTILABEL
from hf_pneumo.imaging.dicom import read_dicom_dataset
from hf_pneumo.imaging.reader import read_xray
from hf_pneumo.serving.dicom_export import write_dicom_result
from hf_pneumo.serving.study_identity import keep_valid

VALIDATOR = shutil.which("dciodvfy")
if VALIDATOR is None and not os.environ.get("REQUIRE_DICOM_TOOLS"):
    pytest.skip("dciodvfy (apt: dicom3tools) is not installed", allow_module_level=True)

JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"  # PS3.5 H.3.1
ORDINARY = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1",
    "SpecificCharacterSet": "ISO_IR 100",
    "Modality": "CR",
    "PatientName": "Doe^Jane",
    "PatientID": "ID-7",
    "PatientSex": "F",
    "PatientAge": "060Y",
    "PatientBirthDate": "19600102",
    "StudyDate": "20200304",
    "StudyTime": "101112",
    "AccessionNumber": "A1",
    "StudyID": "S1",
    "StudyDescription": "Thorax",
    "ReferringPhysicianName": "Roe^Richard",
    "PatientOrientation": "L\\F",
}
HEADERS = {
    "ordinary": {},
    "orientation of two letters": {"PatientOrientation": "LA\\F"},
    "orientation in small letters": {"PatientOrientation": "l\\f"},
    "orientation of one value": {"PatientOrientation": "L"},
    "contradictory orientation": {"PatientOrientation": "LR\\F"},
    "date of zeros": {"StudyDate": "00000000", "PatientBirthDate": "00000000"},
    "date with dots": {"StudyDate": "2020.03.04"},
    "31 February": {"StudyDate": "20200231"},
    "time 99": {"StudyTime": "99"},
    "time with colons": {"StudyTime": "10:11:12"},
    "time in words": {"StudyTime": "noon"},
    "no study": {"StudyInstanceUID": "", "SeriesInstanceUID": ""},
    "long identifiers": {"PatientID": "9" * 100, "AccessionNumber": "A" * 40, "StudyID": "S" * 40},
    "long names": {"PatientName": "N" * 90 + "^" + "M" * 90, "StudyDescription": "D" * 200},
    "too many components": {"PatientName": "A^B^C^D^E^F^G=H=I=J=K"},
    "sex in a word": {"PatientSex": "female", "PatientAge": "60"},
    "backslash and control characters": {"PatientID": "A\\B\x01", "StudyDescription": "line\nbreak\t"},
    "spaces only": {"PatientID": "   ", "StudyTime": "  "},
    "unknown character set": {"SpecificCharacterSet": "ISO_IR 999", "PatientName": b"M\xfcller^\xc4nne"},
    "bytes of another character set": {"SpecificCharacterSet": "ISO_IR 192", "PatientName": b"M\xfcller^\xc4nne"},
    "Japanese in UTF-8": {"SpecificCharacterSet": "ISO_IR 192", "PatientName": JAPANESE.encode()},
    "Japanese in ISO 2022": {
        "SpecificCharacterSet": "\\ISO 2022 IR 87",
        "PatientName": JAPANESE.encode("iso2022_jp"),
    },
    "numbers that are none": {"PatientSize": "tall", "PatientWeight": "1e400kg"},
    "burned in maybe": {"BurnedInAnnotation": "maybe", "LossyImageCompression": "lossy"},
    "private junk": {"private": True},
    "date and time of the series": {
        "StudyDate": "00000000", "StudyTime": "99", "SeriesDate": "20200304", "SeriesTime": "10",
    },
}  # fmt: skip
# What must stay empty of each: no date, time or number of the film could stand there, and none is made up.
EMPTY = {
    "date of zeros": ["StudyDate"],
    "31 February": ["StudyDate"],
    "time 99": ["StudyTime"],
    "time in words": ["StudyTime"],
    "spaces only": ["PatientID", "StudyTime"],
}
# What the notes must name of each; () where nothing was lost.
NAMED = {
    "no study": ["StudyInstanceUID", "SeriesInstanceUID"],
    "date and time of the series": ["StudyDate", "StudyTime"],
    "orientation in small letters": ["PatientOrientation"],
    "orientation of one value": ["PatientOrientation"],
    "contradictory orientation": ["PatientOrientation"],
    "date of zeros": ["StudyDate", "PatientBirthDate"],
    "31 February": ["StudyDate"],
    "time 99": ["StudyTime"],
    "time in words": ["StudyTime"],
    "long identifiers": ["PatientID", "AccessionNumber", "StudyID"],
    "long names": ["PatientName", "StudyDescription"],
    "too many components": ["PatientName"],
    "sex in a word": ["PatientSex", "PatientAge"],
    "unknown character set": ["SpecificCharacterSet"],
    "bytes of another character set": ["SpecificCharacterSet"],
    "numbers that are none": ["PatientSize", "PatientWeight"],
    "burned in maybe": ["BurnedInAnnotation", "LossyImageCompression"],
}


def film(path: Path, **elements: object) -> Path:
    """A film of 60 x 50 pixels whose text elements are written byte by byte, valid or not."""
    dataset = Dataset()
    for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(dataset, name, generate_uid())
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 60, 50, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = np.arange(3000, dtype=np.uint16).tobytes()
    if elements.pop("private", False):
        dataset.private_block(0x0009, "JUNK", create=True).add_new(0x01, "LO", "x" * 200)
        dataset.add_new((0x0009, 0x1099), "UN", b"\xff\xfe" * 50)
    put_in = {}  # bytes that pydicom would decode while writing
    for name, value in (ORDINARY | elements).items():
        raw = value if isinstance(value, bytes) else value.encode("latin-1")
        tag = Tag(name)
        raw += b" " * (len(raw) % 2)
        if isinstance(value, bytes):
            put_in[b"~" * len(raw)] = raw
            raw = b"~" * len(raw)
        dataset[tag] = RawDataElement(tag, dictionary_VR(tag), len(raw), raw, 0, False, True)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(path, dataset, enforce_file_format=True)
    content = path.read_bytes()
    for placeholder, raw in sorted(put_in.items(), reverse=True):  # the longest first
        content = content.replace(placeholder, raw)
    path.write_bytes(content)
    return path


def complaints(path: Path) -> list[str]:
    """The errors and warnings of dciodvfy on one object."""
    done = subprocess.run([VALIDATOR, str(path)], capture_output=True, text=True, errors="replace")
    return [line for line in done.stderr.splitlines() if line.startswith(("Error", "Warning"))]


def write(path: Path, folder: Path, **changes: object) -> tuple[Path, ...]:
    arguments = {
        "probabilities": {"PNEUMONIA": 0.75},
        "verdicts": {"PNEUMONIA": "positive"},
        "boxes": [(10, 20, 15, 30, 0.5)],
        "box_finding": "PNEUMONIA",
        "method": "gradcam",
        "model": "user/pneumonia",
        "revision": "0123456789abcdef",
    }
    overlay = np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    return write_dicom_result(path, overlay, folder, **arguments | changes).paths


def advice(names: list[str]) -> list[str]:
    """What dciodvfy says, who conforms to the standard, of attributes of a DICOMDIR's index that are empty."""
    needed = {"PatientID": "Patient ID", "StudyDate": "Study Date", "StudyTime": "Study Time"}
    said = "Warning - Missing attribute or value that would be needed to build DICOMDIR - "
    return [said + title for name, title in needed.items() if name in names]


@pytest.mark.parametrize("kind", HEADERS)
def test_every_header_gives_objects_that_conform_and_names_what_it_cost(tmp_path: Path, kind: str) -> None:
    for path in write(film(tmp_path / "film.dcm", **HEADERS[kind]), tmp_path / "out"):
        assert complaints(path) == advice(EMPTY.get(kind, []))


@pytest.mark.parametrize("kind", HEADERS)
def test_what_was_left_out_is_named_and_never_quoted(tmp_path: Path, kind: str) -> None:
    header = read_dicom_dataset(film(tmp_path / "film.dcm", **HEADERS[kind]))
    notes = keep_valid(header)
    assert [name for name in NAMED.get(kind, ()) if not any(f"({name})" in note for note in notes)] == []
    assert len(notes) >= len(NAMED.get(kind, ())) and bool(notes) == bool(NAMED.get(kind, ()))
    for value in filter(None, HEADERS[kind].values()):
        assert not any(str(value) in note for note in notes)


def test_cut_and_left_out_values(tmp_path: Path) -> None:
    """Known answers: SH 16, LO 64 characters; a wrong date gives way to the film's, or to nothing."""
    wrong = {"StudyDate": "00000000", "StudyTime": "99", "AcquisitionTime": "235959", "PatientSex": "x"}
    long = {"PatientID": "9" * 100, "AccessionNumber": "A" * 40, "PatientName": "Doe^" + "J" * 90}
    header = read_dicom_dataset(film(tmp_path / "film.dcm", **wrong, **long))
    keep_valid(header)
    assert (header.StudyDate, header.StudyTime, header.PatientSex) == ("", "235959", "")
    assert (header.PatientID, header.AccessionNumber) == ("9" * 64, "A" * 16)
    assert header.PatientName == "Doe^" + "J" * 31


@pytest.mark.parametrize("encoding", ["UTF-8", "ISO 2022"])
def test_japanese_names_are_the_same_in_the_result(tmp_path: Path, encoding: str) -> None:
    for path in write(film(tmp_path / "film.dcm", **HEADERS[f"Japanese in {encoding}"]), tmp_path / "out"):
        assert str(pydicom.dcmread(path).PatientName) == JAPANESE


def test_letters_of_an_unnamed_character_set_are_those_of_latin_1(tmp_path: Path) -> None:
    for kind in ("unknown character set", "bytes of another character set"):
        header = read_dicom_dataset(film(tmp_path / "film.dcm", **HEADERS[kind]))
        keep_valid(header)
        assert header.PatientName == "Müller^Änne"


def test_fourteen_findings_conform(tmp_path: Path) -> None:
    labels = MULTILABEL.names
    assert len(labels) == 14
    changes = {"probabilities": dict.fromkeys(labels, 0.5), "verdicts": dict.fromkeys(labels, "uncertain")}
    for path in write(film(tmp_path / "film.dcm"), tmp_path / "out", **changes, box_finding="Lung Opacity"):
        assert complaints(path) == []


TEXT = sorted(set(ORDINARY) - {"SOPClassUID", "SpecificCharacterSet", "Modality"})


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    values=st.fixed_dictionaries({}, optional={name: st.binary(min_size=1, max_size=90) for name in TEXT}),
    charset=st.sampled_from(["ISO_IR 100", "ISO_IR 192", "ISO_IR 6", "\\ISO 2022 IR 87", "GB18030", "nonsense"]),
)
def test_no_text_of_the_header_costs_the_film_or_its_result(tmp_path: Path, values: dict, charset: str) -> None:
    path = film(tmp_path / "film.dcm", SpecificCharacterSet=charset, **values)
    assert read_xray(path).pixels.shape == (60, 50)
    for result in write(path, tmp_path / "out"):
        dataset = pydicom.dcmread(result)
        assert not [line for line in complaints(result) if line.startswith("Error")]
        assert dataset.StudyInstanceUID == pydicom.dcmread(path, specific_tags=["StudyInstanceUID"]).StudyInstanceUID
