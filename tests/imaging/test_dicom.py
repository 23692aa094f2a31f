"""DICOM radiographs: display transforms by known answers, mended headers, refusals, and silence about the patient."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi_lut

from hf_pneumo.imaging.dicom import read_dicom_dataset
from hf_pneumo.imaging.reader import XrayReadError, read_xray

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
JPEG_2000, RLE = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(2048, 4096), (1000, 700), (3000, 51.5)])
def test_windows_agree_with_pydicom(dicom, function, centre, width):
    film = read_xray(dicom(RAMP, bits=12, WindowCenter=centre, WindowWidth=width, VOILUTFunction=function))
    oracle = Dataset()
    oracle.WindowCenter, oracle.WindowWidth, oracle.VOILUTFunction = centre, width, function
    oracle.PhotometricInterpretation, oracle.BitsStored, oracle.PixelRepresentation = "MONOCHROME2", 12, 0
    expected = apply_voi_lut(RAMP, oracle) / 4095
    np.testing.assert_allclose(film.pixels, expected, atol=1e-6)


def test_monochrome1_is_inverted_after_the_window(dicom):
    window = {"bits": 12, "WindowCenter": 1000, "WindowWidth": 700}
    plain, inverse = (read_xray(dicom(RAMP, PhotometricInterpretation=f"MONOCHROME{n}", **window)) for n in (2, 1))
    np.testing.assert_allclose(inverse.pixels, 1 - plain.pixels, atol=1e-6)


def test_rescale_acts_before_the_window_and_signed_values_keep_their_sign(dicom):
    signed = RAMP.astype(np.int16) - 2048
    content = dicom(signed, bits=12, RescaleSlope=2, RescaleIntercept=100, WindowCenter=100.5, WindowWidth=2001)
    expected = np.clip((signed * 2.0 + 100 - 100) / 2000 + 0.5, 0, 1)
    np.testing.assert_allclose(read_xray(content).pixels, expected, atol=1e-6)


def test_look_up_tables_map_values_and_win_over_the_window(dicom, lookup_table):
    entries = (np.arange(4096) ** 2 // 4096).clip(0, 4095)
    voi = [lookup_table(entries, bits=12)]
    film = read_xray(dicom(RAMP, bits=12, VOILUTSequence=voi, WindowCenter=5, WindowWidth=2))
    np.testing.assert_allclose(film.pixels, entries.reshape(64, 64) / 4095, atol=1e-6)
    modality = read_xray(dicom(RAMP, bits=12, ModalityLUTSequence=voi, WindowCenter=2048, WindowWidth=4096))
    np.testing.assert_allclose(modality.pixels, entries.reshape(64, 64) / 4095, atol=1e-6)


def test_padding_is_black_and_does_not_stretch_the_range(dicom):
    values = np.clip(RAMP, 1000, 2000)
    values[:8] = 4095
    film = read_xray(dicom(values, bits=12, PixelPaddingValue=4095))
    assert not film.pixels[:8].any()
    assert film.pixels[8:].max() == 1
    assert film.pixels[-1, -1] == 1


@pytest.mark.parametrize("meta", [True, False])
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, JPEG_2000, RLE])
def test_preamble_and_transfer_syntax_may_be_missing(dicom, syntax, meta):
    content = dicom(RAMP, bits=12, syntax=syntax, preamble=False, meta=meta)
    np.testing.assert_allclose(read_xray(content).pixels, RAMP / 4095, atol=1e-6)


MENDED = [
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "BitsAllocated",
    "PhotometricInterpretation",
]


@pytest.mark.parametrize("missing", MENDED)
def test_a_missing_element_is_mended(dicom, missing):
    np.testing.assert_allclose(read_xray(dicom(RAMP, bits=12, **{missing: None})).pixels, RAMP / 4095, atol=1e-6)


@pytest.mark.parametrize("missing", ["Rows", "Columns"])
def test_a_missing_size_is_named_or_taken_from_the_compressed_image(dicom, missing):
    with pytest.raises(XrayReadError, match=missing):
        read_xray(dicom(RAMP, bits=12, **{missing: None}))
    film = read_xray(dicom(RAMP, bits=12, syntax=JPEG_2000, **{missing: None}))
    assert film.pixels.shape == (64, 64)
    assert any("size" in note for note in film.notes)


def test_a_wrong_depth_does_not_wrap_values(dicom):
    film = read_xray(dicom(RAMP, bits=10))
    assert film.bits == 12
    np.testing.assert_allclose(film.pixels, RAMP / 4095, atol=1e-6)


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"NumberOfFrames": 7}, "7 frames"),
        ({"PixelData": None}, "no pixel data"),
        ({"PixelData": b"12"}, "cut short"),
        ({"PhotometricInterpretation": "HSV"}, "HSV"),
        ({"BitsAllocated": 1}, "allocates 1 bits"),
        ({"Rows": 60000, "Columns": 60000}, "max_pixels"),
        ({"SamplesPerPixel": 4}, "4 samples"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(dicom, elements, said):
    with pytest.raises(XrayReadError, match=said):
        read_xray(dicom(RAMP, bits=12, **elements))


@pytest.mark.parametrize(
    ("stated", "view"), [("PA", "PA"), ("AP", "AP"), ("LATERAL", "LATERAL"), ("", None), ("Zyxwold", None)]
)
def test_view_is_one_of_the_known_ones(dicom, stated, view):
    assert read_xray(dicom(RAMP, bits=12, ViewPosition=stated.encode())).view == view


def test_colour_and_foreign_objects_are_noted(dicom):
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert any("colour" in note for note in read_xray(dicom(rgb)).notes)
    film = read_xray(dicom(RAMP, bits=12, Modality="CT", BodyPartExamined="KNEE"))
    assert any("CT" in note for note in film.notes) and any("KNEE" in note for note in film.notes)


def test_nothing_of_the_patient_leaves_the_reader(dicom, secrets, caplog):
    caplog.set_level(logging.DEBUG)
    whole = dicom(RAMP, bits=12, PatientBirthDate=b"born 19470213", WindowCenter=b"Zyxwold ", StudyDate=b"x20190817 ")
    broken = [whole[:cut] for cut in range(200, len(whole), 97)]
    broken += [dicom(RAMP, bits=12, Modality=b"Quentin ", BodyPartExamined=b"Zyxwold^Quentin ", PixelData=None)]
    broken += [dicom(RAMP, bits=12, PhotometricInterpretation=b"Zyxwold^Quentin "), dicom(RAMP, Rows=None)]
    caplog.clear()
    said = []
    with warnings.catch_warnings(record=True) as heard:
        for content in [whole, *broken]:
            try:
                said.append(repr(read_xray(content)))
            except XrayReadError as error:
                said += [str(error), repr(error.__context__), repr(error.__cause__)]
    text = " ".join([*said, caplog.text, *(str(warning.message) for warning in heard)]).lower()
    assert not [secret for secret in secrets if secret in text]


def test_the_header_is_given_to_those_who_ask_for_it_without_pixels(dicom):
    header = read_dicom_dataset(dicom(RAMP, bits=12))
    assert str(header.PatientName) == "Zyxwold^Quentin" and "PixelData" not in header
    with pytest.raises(XrayReadError):
        read_dicom_dataset(b"\x89PNG\r\n\x1a\n" + b"0" * 100)


def test_real_radiographs(real_dicom):
    films = [read_xray(path) for path in sorted(real_dicom.glob("*.dcm"))]
    assert films
    for film in films:
        assert min(film.pixels.shape) >= 400 and film.pixels.std() > 0.1
