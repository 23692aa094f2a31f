"""Known pixels through every raster format: read as they look, never saturated, never turned, noted where needed."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hf_pneumo.imaging.reader import XrayReadError, read_xray

RAMP = np.tile(np.linspace(0, 255, 200).astype(np.uint8), (160, 1))
REAL = Path(os.environ.get("HF_PNEUMO_TEST_DATA", "")) / "dicom"


def stored(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "options", "off"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95}, 3),
        ("GIF", {}, 0),
    ],
)
def test_grey_pixels_of_every_format(kind, options, off):
    film = read_xray(stored(Image.fromarray(RAMP), kind, **options))
    assert film.pixels.dtype == np.float32 and film.pixels.shape == RAMP.shape
    assert np.abs(film.gray8.astype(int) - RAMP).max() <= off
    assert film.format.upper() == kind


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "CMYK"])
def test_colour_modes_that_hold_a_grey_film(mode):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    grey = Image.fromarray(RAMP)
    image = grey.convert(mode) if mode in ("P", "LA") else grey.convert("RGB").convert(mode)
    film = read_xray(stored(image, kind))
    assert np.abs(film.gray8.astype(int) - RAMP).max() <= 1


def test_sixteen_bits_are_not_saturated():
    deep = np.tile(np.linspace(0, 65535, 200).astype(np.uint16), (160, 1))
    for kind in ("PNG", "TIFF"):
        film = read_xray(stored(Image.fromarray(deep), kind))
        assert film.bits == 16
        assert np.abs(film.pixels - deep / 65535).max() < 1e-4


def test_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise, to view
    film = read_xray(stored(Image.fromarray(RAMP), "JPEG", quality=95, exif=exif))
    assert film.pixels.shape == (200, 160)
    assert np.abs(film.gray8.astype(int) - np.rot90(RAMP, -1)).max() <= 3


def test_the_first_of_several_pages_is_read_with_a_note():
    pages = [Image.fromarray(RAMP), Image.fromarray(255 - RAMP)]
    film = read_xray(stored(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert np.array_equal(film.gray8, RAMP)
    assert any("page" in note.lower() for note in film.notes)


def test_a_colour_photograph_is_remarked_on():
    photo = np.random.default_rng(0).integers(0, 256, (160, 200, 3), dtype=np.uint8)
    assert any("colour" in note.lower() for note in read_xray(stored(Image.fromarray(photo), "PNG")).notes)


@pytest.mark.parametrize(
    "content", [b"", b"hello, this is a text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0" + b"x" * 40]
)
def test_what_is_no_film_ends_in_one_sentence(content):
    with pytest.raises(XrayReadError) as caught:
        read_xray(content)
    assert 10 < len(str(caught.value)) < 400 and "\n" not in str(caught.value)


def test_cut_short_too_large_and_missing(tmp_path):
    whole = stored(Image.fromarray(RAMP), "PNG")
    with pytest.raises(XrayReadError):
        read_xray(whole[: len(whole) // 2])
    with pytest.raises(XrayReadError, match="max_pixels"):
        read_xray(whole, max_pixels=1000)
    with pytest.raises(XrayReadError):
        read_xray(tmp_path / "nothing.png")


@pytest.mark.skipif(not REAL.is_dir(), reason="HF_PNEUMO_TEST_DATA has no dicom")
@pytest.mark.parametrize(
    "name",
    [
        "fodicom_CR-MONO1-10-chest.dcm",
        "txv_siim_PA_jpegbaseline_mono2.dcm",
        "nhsx_nih_DX_implicitLE_8bit.dcm",
        "nonchest_wg04_RG3_extremity_MONO1_10bit_RLE.dcm",
    ],
)
def test_real_radiographs(name):
    film = read_xray(REAL / name)
    assert film.format == "DICOM" and min(film.pixels.shape) > 200
    assert film.pixels.std() > 0.1 and film.pixels.min() >= 0 and film.pixels.max() <= 1


def test_the_remedy_of_a_large_film_is_the_one_that_its_message_names(tmp_path):
    Image.new("1", (9_000, 8_000)).save(tmp_path / "large.png")
    with pytest.raises(XrayReadError, match="9,000 x 8,000 pixels.*--max_pixels 72000000 of predict and explain"):
        read_xray(tmp_path / "large.png")
    assert read_xray(tmp_path / "large.png", max_pixels=72_000_000).pixels.shape == (8_000, 9_000)
