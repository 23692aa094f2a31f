"""Makers of small DICOM files with an identity that must never come out of the reader."""

from __future__ import annotations

import os
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian

IDENTITY = {
    "PatientName": "Zyxwold^Quentin",
    "PatientID": "MRN-7734190",
    "PatientBirthDate": "19470213",
    "StudyDate": "20190817",
    "AccessionNumber": "ACC5550123",
    "InstitutionName": "Hospital Qwertz",
    "ReferringPhysicianName": "Drblatt^Ute",
    "OtherPatientIDs": "OTH99887766",
    "StudyID": "STUDY424242",
}
SECRETS = (
    "zyxwold",
    "quentin",
    "7734190",
    "19470213",
    "20190817",
    "5550123",
    "qwertz",
    "drblatt",
    "99887766",
    "424242",
)

CODECS = {
    "1.2.840.10008.1.2.4.50": "jpeg",
    "1.2.840.10008.1.2.4.57": "lossless",
    "1.2.840.10008.1.2.4.70": "lossless",
}


def lossless_jpeg(values: np.ndarray, bits: int) -> bytes:
    """ISO 10918-1 process 14, predictor 1, with one Huffman table in which category n has the 5-bit code n."""
    rows, columns = values.shape
    signed = values.astype(np.int64)
    left = np.empty_like(signed)
    left[:, 1:], left[1:, 0], left[0, 0] = signed[:, :-1], signed[:-1, 0], 2 ** (bits - 1)
    stream = []
    for difference in ((signed - left + 2**15) % 2**16 - 2**15).ravel().tolist():
        category = abs(difference).bit_length()
        stream.append(format(category, "05b"))
        if 0 < category < 16:
            extra = difference if difference > 0 else difference + 2**category - 1
            stream.append(format(extra, f"0{category}b"))
    code = "".join(stream)
    code += "1" * (-len(code) % 8)
    scan = int(code, 2).to_bytes(len(code) // 8, "big").replace(b"\xff", b"\xff\x00")
    frame = struct.pack(">BHHBBBB", bits, rows, columns, 1, 1, 0x11, 0)
    table = bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    segments = ((0xC3, frame), (0xC4, table), (0xDA, bytes([1, 1, 0, 1, 0, 0])))
    head = b"".join(b"\xff" + bytes([m]) + struct.pack(">H", len(body) + 2) + body for m, body in segments)
    return b"\xff\xd8" + head + scan + b"\xff\xd9"


def _encapsulated(values: np.ndarray, codec: str, bits: int) -> bytes:
    if codec == "lossless":
        return encapsulate([lossless_jpeg(values, bits)])
    stream = BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(stream, "JPEG", quality=95)
    return encapsulate([stream.getvalue()])


def make_dataset(values, *, syntax=ExplicitVRLittleEndian, bits=None, words=(), more=(), **elements) -> Dataset:
    """A CR image of `values`; keyword `elements` add header elements, unchecked as bytes, and None removes one.

    `words`: elements whose bytes are 16-bit words. `more`: group, element, VR and value of others.
    """
    values, syntax = np.asarray(values), UID(syntax)
    allocated = 8 * values.dtype.itemsize
    dataset = Dataset()
    header = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1",
        "SOPInstanceUID": "1.2.826.0.1.3680043.8.498.1",
        "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.2",
        "Modality": "CR",
        "BodyPartExamined": "CHEST",
        **IDENTITY,
        "SamplesPerPixel": 1 if values.ndim == 2 else 3,
        "PhotometricInterpretation": "MONOCHROME2" if values.ndim == 2 else "RGB",
        "Rows": values.shape[0],
        "Columns": values.shape[1],
        "BitsAllocated": allocated,
        "BitsStored": bits or allocated,
        "HighBit": (bits or allocated) - 1,
        "PixelRepresentation": int(values.dtype.kind == "i"),
    }
    if values.ndim == 3:
        header["PlanarConfiguration"] = 0
    for keyword, value in header.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax in CODECS:
        dataset.PixelData = _encapsulated(values, CODECS[syntax], bits or allocated)
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    elif syntax.is_encapsulated:
        dataset.PixelData = values.tobytes()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        extra = {"j2k_cr": [4]} if syntax == "1.2.840.10008.1.2.4.91" else {}
        dataset.compress(syntax, values, generate_instance_uid=False, **extra)
    else:
        stored = values if syntax.is_little_endian or allocated == 8 else values.byteswap()
        dataset.PixelData = stored.tobytes() + b"\0" * (values.nbytes % 2)
        dataset["PixelData"].VR = "OB" if allocated == 8 and not syntax.is_implicit_VR else "OW"
    for keyword, value in elements.items():
        if value is None:
            if keyword in dataset:
                delattr(dataset, keyword)
        elif isinstance(value, bytes) and keyword != "PixelData":
            tag = Tag(keyword)
            dataset[tag] = RawDataElement(tag, dictionary_VR(tag)[:2], len(value), value, 0, False, True)
        else:
            setattr(dataset, keyword, value)
    for keyword, value in dict(words).items():
        dataset.add_new(keyword, "OW" if isinstance(value, bytes) else "US", value)
    for group, element, vr, value in more:
        dataset.add_new((group, element), vr, value)
    return dataset


def make_table(entries, *, first=0, bits=16) -> Dataset:
    """An item of a Modality or VOI LUT Sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries) % 2**16, first, bits])
    item.add_new("LUTData", "US", [int(entry) for entry in entries])
    return item


def to_bytes(dataset: Dataset, *, preamble: bool = True, meta: bool = True) -> bytes:
    """The file of `dataset`; without `meta` also the transfer syntax is missing."""
    stream, syntax = BytesIO(), dataset.file_meta.TransferSyntaxUID
    if preamble and meta:
        dataset.preamble = b"\0" * 128
    if not meta:
        dataset.file_meta = FileMetaDataset()
        dcmwrite(
            stream,
            dataset,
            implicit_vr=syntax.is_implicit_VR,
            little_endian=syntax.is_little_endian,
            force_encoding=True,
        )
        return stream.getvalue()
    dcmwrite(stream, dataset, enforce_file_format=preamble)
    return stream.getvalue()


@pytest.fixture(scope="session")
def dicom():
    """Function: values, syntax, bits, header elements, preamble, meta -> bytes of a DICOM file."""

    def make(values, *, preamble=True, meta=True, **options) -> bytes:
        return to_bytes(make_dataset(values, **options), preamble=preamble, meta=meta)

    return make


@pytest.fixture(scope="session")
def lookup_table():
    return make_table


@pytest.fixture(scope="session")
def secrets():
    """Lower-case pieces of the identity in every file that `dicom` makes."""
    return SECRETS


@pytest.fixture(scope="session")
def real_dicom() -> Path:
    folder = Path(os.environ.get("HF_PNEUMO_TEST_DATA", ""), "dicom")
    if not os.environ.get("HF_PNEUMO_TEST_DATA") or not folder.is_dir():
        pytest.skip("set HF_PNEUMO_TEST_DATA to a folder that holds dicom/")
    return folder
