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
from hf_pneumo.imaging.xray import Projection

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


@pytest.mark.parametrize("centre", [-100_000, 100_000])
def test_a_window_beside_all_values_is_left_out(dicom, centre):
    beside = read_xray(dicom(RAMP, bits=12, WindowCenter=centre, WindowWidth=100))
    assert beside.notes[0] == "The header's display window shows nothing of the film and was left out."
    np.testing.assert_array_equal(beside.pixels, read_xray(dicom(RAMP, bits=12)).pixels)


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


def test_the_first_of_several_frames_is_read_and_said(dicom):
    both = np.concatenate([RAMP, RAMP[::-1]])
    film = read_xray(dicom(both, bits=12, Rows=64, NumberOfFrames=2))
    np.testing.assert_allclose(film.pixels, RAMP / 4095, atol=1e-6)
    assert any("2 frames; only the first" in note for note in film.notes)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("order", ["little", "big"])
def test_samples_in_the_upper_bits_are_shifted_down(dicom, signed, order):
    """PS3.5 8.1.1: bits stored 12, high bit 15; the window counts in samples."""
    samples = RAMP.astype(np.int16) - 2048 if signed else RAMP
    window = {"WindowCenter": 0 if signed else 2048, "WindowWidth": 4096}
    content = dicom(samples << 4, bits=12, HighBit=15, syntax=EXPLICIT if order == "little" else BIG, **window)
    np.testing.assert_allclose(read_xray(content).pixels, RAMP / 4095, atol=1e-6)


def test_a_high_bit_that_the_values_contradict_is_left_out(dicom):
    film = read_xray(dicom(RAMP, bits=12, HighBit=15, WindowCenter=2048, WindowWidth=4096))
    np.testing.assert_allclose(film.pixels, RAMP / 4095, atol=1e-6)
    assert any("high bit 15" in note for note in film.notes)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
@pytest.mark.parametrize("signed", [False, True])
def test_what_stands_in_unused_bits_is_no_pixel(dicom, syntax, signed):
    samples = RAMP.astype(np.int16) - 2048 if signed else RAMP
    rubbish = np.random.default_rng(0).integers(0, 16, RAMP.shape).astype(np.uint16) << 12
    cells = ((samples.view(np.uint16) & 0x0FFF) | rubbish).view(samples.dtype)
    window = {"WindowCenter": 0 if signed else 2048, "WindowWidth": 4096}
    film = read_xray(dicom(cells, bits=12, syntax=syntax, **window))
    assert film.bits == 12
    np.testing.assert_allclose(film.pixels, RAMP / 4095, atol=1e-6)


@pytest.mark.parametrize("group", range(0x6000, 0x6020, 2))
@pytest.mark.parametrize(("bit", "high"), [(12, 11), (15, 11), (0, 15), (2, 15)])
def test_an_overlay_in_any_group_and_unused_bit_is_no_pixel(dicom, group, bit, high):
    """PS3.3 C.9.2: repeating groups 6000 to 601E; the mark would be burnt in white."""
    cells = RAMP << (high - 11)
    cells[20:60, 20:60] |= 1 << bit
    overlay = [(group, 0x0100, "US", 16), (group, 0x0102, "US", bit), (group, 0x0010, "US", 64)]
    content = dicom(cells, bits=12, HighBit=high, WindowCenter=2048, WindowWidth=4096, more=overlay)
    np.testing.assert_allclose(read_xray(content).pixels, RAMP / 4095, atol=1e-6)


PALETTES = {
    "256 of 16 bits": (256, 0, 16, np.arange(256) * 257),
    "256 of 8 bits": (256, 0, 8, np.arange(256)),
    "65536 entries": (0, 0, 16, np.minimum(np.arange(65536), 255) * 257),
    "first mapped value 50": (100, 50, 16, np.arange(100) * 600),
    "odd count of 8 bits": (255, 1, 8, np.arange(255)),
}


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG])
@pytest.mark.parametrize("kind", PALETTES)
def test_palettes_of_every_descriptor(dicom, kind, syntax):
    """PS3.3 C.7.6.3.1.5: number of entries (0 for 65536), first mapped value, bits of an entry."""
    count, first, bits, entries = PALETTES[kind]
    order = "<" if syntax == EXPLICIT else ">"
    data = entries.astype(f"{order}u2").tobytes()
    if bits == 8:
        pairs = np.append(entries, [0] * (len(entries) % 2)).astype(np.uint8)
        data = (pairs.reshape(-1, 2) if syntax == EXPLICIT else pairs.reshape(-1, 2)[:, ::-1]).tobytes()
    palette = {f"{c}PaletteColorLookupTableDescriptor": [count, first, bits] for c in ("Red", "Green", "Blue")}
    palette |= {f"{c}PaletteColorLookupTableData": data for c in ("Red", "Green", "Blue")}
    index = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
    film = read_xray(dicom(index, PhotometricInterpretation="PALETTE COLOR", words=palette, syntax=syntax))
    expected = entries[np.clip(index.astype(int) - first, 0, len(entries) - 1)] / (2**bits - 1)
    np.testing.assert_allclose(film.pixels, expected, atol=1e-6)


def test_a_palette_of_signed_pixels_begins_below_zero(dicom):
    index = np.tile(np.arange(-128, 128, dtype=np.int16), (64, 1))
    palette = {f"{c}PaletteColorLookupTableDescriptor": [256, 2**16 - 128, 16] for c in ("Red", "Green", "Blue")}
    data = (np.arange(256) * 257).astype("<u2").tobytes()
    palette |= {f"{c}PaletteColorLookupTableData": data for c in ("Red", "Green", "Blue")}
    film = read_xray(dicom(index, PhotometricInterpretation="PALETTE COLOR", words=palette))
    np.testing.assert_allclose(film.pixels, (index + 128) / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("limits", "hidden"),
    [
        ({"PixelPaddingValue": 4000, "PixelPaddingRangeLimit": 4095}, RAMP >= 4000),
        ({"PixelPaddingValue": 100, "PixelPaddingRangeLimit": 0}, RAMP <= 100),
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_range_of_padding_is_black(dicom, limits, hidden, photometric):
    film = read_xray(dicom(RAMP, bits=12, PhotometricInterpretation=photometric, **limits))
    assert not film.pixels[hidden].any()
    assert (film.pixels[~hidden].min(), film.pixels[~hidden].max()) == (0, 1)


def test_padding_that_no_sample_can_have_is_black(dicom):
    cells = RAMP.copy()
    cells[:8] = 0xFFFF
    film = read_xray(dicom(cells, bits=12, PixelPaddingValue=0xFFFF, WindowCenter=2048, WindowWidth=4096))
    assert not film.pixels[:8].any()
    np.testing.assert_allclose(film.pixels[8:], RAMP[8:] / 4095, atol=1e-6)


@pytest.mark.parametrize(
    ("elements", "shape"),
    [
        ({"PixelAspectRatio": [2, 1]}, (128, 64)),
        ({"PixelAspectRatio": [1, 2]}, (64, 128)),
        ({"ImagerPixelSpacing": [0.3, 0.2]}, (96, 64)),
        ({"PixelSpacing": [0.1, 0.1], "PixelAspectRatio": [2, 1]}, (64, 64)),
        ({"PixelSpacing": [0.143, 0.144]}, (64, 64)),
    ],
)
def test_pixels_become_square(dicom, elements, shape):
    film = read_xray(dicom(RAMP, bits=12, **elements))
    assert film.pixels.shape == shape
    assert any("not square" in note for note in film.notes) == (shape != (64, 64))
    assert film.pixels.mean() == pytest.approx(0.5, abs=0.01)


def test_an_impossible_pixel_shape_is_left_out(dicom):
    film = read_xray(dicom(RAMP, bits=12, PixelAspectRatio=[1, 1000]))
    assert film.pixels.shape == (64, 64) and any("PixelAspectRatio cannot be right" in note for note in film.notes)


@pytest.mark.parametrize(
    ("orientation", "projection"),
    [
        ("L\\F", Projection()),
        ("R\\F", Projection(mirrored=True)),
        ("R\\H", Projection(quarter_turns=2)),
        ("L\\H", Projection(mirrored=True, quarter_turns=2)),
        ("F\\R", Projection(quarter_turns=1)),
        ("H\\L", Projection(quarter_turns=3)),
        ("A\\F", Projection(lateral=True)),
        ("P\\F", Projection(lateral=True)),
        ("LA\\FP", Projection()),
        ("l\\f", Projection()),
        ("Zyxwold\\F", Projection()),
        ("", Projection()),
    ],
)
def test_the_header_s_orientation(dicom, orientation, projection):
    film = read_xray(dicom(RAMP, bits=12, PatientOrientation=orientation.encode()))
    assert film.projection == projection
    assert any("PatientOrientation" in note for note in film.notes) == (projection != Projection())
    assert film.view == ("LATERAL" if projection.lateral else None)


@pytest.mark.parametrize("view", ["LL", "RL", "LATERAL", "LEFT LATERAL", "lateral"])
def test_laterals_by_view_position(dicom, view):
    assert read_xray(dicom(RAMP, bits=12, ViewPosition=view.encode())).projection.lateral


def test_a_lateral_orientation_counts_beside_a_frontal_view(dicom):
    film = read_xray(dicom(RAMP, bits=12, ViewPosition=b"PA", PatientOrientation=b"A\\F "))
    assert film.view == "PA" and film.projection.lateral


def test_burnt_in_text_is_noted(dicom):
    film = read_xray(dicom(RAMP, bits=12, BurnedInAnnotation=b"YES "))
    assert film.projection.burned_in and any("BurnedInAnnotation" in note for note in film.notes)
    assert not read_xray(dicom(RAMP, bits=12, BurnedInAnnotation=b"NO")).projection.burned_in


@pytest.mark.parametrize(
    ("stated", "view"), [("PA", "PA"), ("AP", "AP"), ("LATERAL", "LATERAL"), ("", None), ("Zyxwold", None)]
)
def test_view_is_one_of_the_known_ones(dicom, stated, view):
    assert read_xray(dicom(RAMP, bits=12, ViewPosition=stated.encode())).view == view


@pytest.mark.parametrize(
    ("stated", "years"),
    [("045Y", 45), ("018M", 1.5), ("003W", 21 / 365.25), ("010D", 10 / 365.25), ("", None), ("45", None), ("O", None)],
)
def test_the_age_is_read_in_years(dicom, stated, years):
    found = read_xray(dicom(RAMP, bits=12, PatientAge=stated.encode())).age
    assert found is None if years is None else found == pytest.approx(years)


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
