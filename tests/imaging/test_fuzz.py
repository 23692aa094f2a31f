"""Damaged and random files: the reader answers with a film or with XrayReadError, soon and in bounded memory."""

from __future__ import annotations

import os
import resource
import struct
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import UID

from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.imaging.reader import Xray, XrayReadError, read_xray

PLAIN, SLOW = 1_000, 20_000
SECONDS = 2.0  # of processor time, which other programs on the machine do not lengthen
LIMITS = {"max_pixels": 1 << 20, "max_bytes": 4 << 20}
MEMORY = 384 << 20  # more than decoding a film of `max_pixels` needs, less than any bomb

PICTURES = {
    "png8": ("PNG", {}),
    "jpeg": ("JPEG", {"quality": 80}),
    "progressive": ("JPEG", {"progressive": True}),
    "tiff": ("TIFF", {}),
    "tiff-lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "tiff-deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "tiff-jpeg": ("TIFF", {"compression": "jpeg"}),
    "webp": ("WEBP", {}),
    "webp-lossless": ("WEBP", {"lossless": True}),
    "bmp": ("BMP", {}),
    "gif": ("GIF", {}),
    "jp2": ("JPEG2000", {}),
}
SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "big": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
    "baseline": "1.2.840.10008.1.2.4.50",
    "lossless": "1.2.840.10008.1.2.4.70",
    "jpeg-2000": "1.2.840.10008.1.2.4.90",
    "rle": "1.2.840.10008.1.2.5",
}
EXTREMES = [b"\0\0", b"\xff\xff", b"\x7f\xff", b"\xff\x7f", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"]


def _pictures(gray: np.ndarray) -> dict[str, bytes]:
    files = {}
    for name, (kind, options) in PICTURES.items():
        stream = BytesIO()
        Image.fromarray(gray).save(stream, kind, **options)
        files[name] = stream.getvalue()
    deep, colour, oriented = BytesIO(), BytesIO(), BytesIO()
    Image.fromarray(gray.astype(np.uint16) * 257).save(deep, "PNG")
    Image.fromarray(np.stack([gray] * 4, axis=-1)).save(colour, "PNG")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(gray).save(oriented, "JPEG", exif=exif)
    return files | {"png16": deep.getvalue(), "rgba": colour.getvalue(), "exif": oriented.getvalue()}


@pytest.fixture(scope="module")
def seeds(dicom, lookup_table) -> list[bytes]:
    """Small valid files of every kind, real ones among them when they are at hand."""
    film = make_phantom(7, size=64, opacities=1).pixels
    gray = np.rint(film * 255).astype(np.uint8)
    deep = np.rint(film * 4095).astype(np.uint16)
    files = _pictures(gray)
    for name, syntax in SYNTAXES.items():
        values, bits = (gray, 8) if name == "baseline" else (deep, 12)
        files[name] = dicom(values, syntax=UID(syntax), bits=bits, WindowCenter=2048, WindowWidth=4096)
    files["bare"] = dicom(deep, bits=12, preamble=False, meta=False, syntax=UID(SYNTAXES["implicit"]))
    files["table"] = dicom(
        deep, bits=12, VOILUTSequence=[lookup_table(range(4096), bits=12)], PhotometricInterpretation="MONOCHROME1"
    )
    files["rgb"] = dicom(np.stack([gray] * 3, axis=-1))
    files["signed"] = dicom(deep.astype(np.int16) - 2048, bits=12, RescaleSlope=2, RescaleIntercept=-5)
    return [*files.values(), *_real_files()]


def _real_files() -> list[bytes]:
    root = os.environ.get("HF_PNEUMO_TEST_DATA")
    if not root:
        return []
    films = sorted(Path(root, "kermany224", "test", "NORMAL").glob("*.jpeg"))[:3]
    return [path.read_bytes() for path in (*films, *sorted(Path(root, "dicom").glob("*.dcm")))]


def _mutate(content: bytes, rng: np.random.Generator, others: list[bytes]) -> bytes:
    """One to five faults: flipped bits, replaced, inserted or lost bytes, extreme numbers, a cut, a foreign tail."""
    data = bytearray(content)
    # Headers decide most, so half of the faults fall into the first bytes.
    for _ in range(rng.integers(1, 6)):
        reach = len(data) if rng.random() < 0.5 else min(len(data), 1500)
        if not reach:
            break
        at, kind = int(rng.integers(reach)), rng.integers(8)
        span = int(rng.integers(1, 33))
        if kind <= 1:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            data[at] = int(rng.integers(256))
        elif kind == 3:
            extreme = EXTREMES[rng.integers(len(EXTREMES))]
            data[at : at + len(extreme)] = extreme
        elif kind == 4:
            data[at:at] = rng.bytes(span)
        elif kind == 5:
            del data[at : at + span]
        elif kind == 6:
            data[at : at + span] = data[max(0, at - 64) : max(0, at - 64) + span]
        elif rng.random() < 0.5:
            del data[at:]
        else:
            other = others[rng.integers(len(others))]
            data[at:] = other[int(rng.integers(len(other))) :][: 1 << 16]
    return bytes(data)


def _read(content: bytes) -> Xray | None:
    start = time.process_time()
    try:
        film = read_xray(content, **LIMITS)
    except XrayReadError as error:
        film = None
        text = str(error)
        assert 20 < len(text) < 400 and "\n" not in text and text.endswith(".")
        assert error.__cause__ is None and error.__context__ is None
    else:
        assert film.pixels.dtype == np.float32 and film.pixels.ndim == 2 and film.pixels.size
        assert film.pixels.min() >= 0 and film.pixels.max() <= 1
    assert time.process_time() - start < SECONDS
    return film


def _campaign(seeds: list[bytes], cases: int, seed: int) -> int:
    read = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for case in range(cases):
        rng = np.random.default_rng([seed, case])
        read += _read(_mutate(seeds[case % len(seeds)], rng, seeds)) is not None
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < MEMORY
    return read


def test_every_seed_is_read(seeds):
    for content in seeds:
        assert isinstance(read_xray(content), Xray)


def test_damaged_files_end_in_a_film_or_a_clear_error(seeds):
    small = [content for content in seeds if len(content) < 200_000]
    read = _campaign(small, PLAIN, seed=1)
    assert 0 < read < PLAIN


@pytest.mark.slow
def test_damaged_files_at_length(seeds):
    read = _campaign(seeds, SLOW, seed=2)
    assert 0 < read < SLOW


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=400))
def test_random_bytes_are_refused(content):
    assert _read(content) is None


HEADS = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"GIF89a", b"BM", b"RIFF\x10\0\0\0WEBP"]
HEADS += [b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51", b"\0" * 128 + b"DICM", b"\x08\0\x05\0CS\x0a\0"]


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(HEADS), st.binary(max_size=300))
def test_random_bytes_after_a_known_start(head, tail):
    _read(head + tail)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_cuts_at_any_place(data, seeds):
    content = data.draw(st.sampled_from([s for s in seeds if len(s) < 200_000]))
    _read(content[: data.draw(st.integers(0, len(content) - 1))])


NUMBERS = st.sampled_from([0, 1, 2, 3, 7, 8, 9, 12, 16, 32, 64, 65, 255, 4096, 65535, None])
COUNTS = """Rows Columns SamplesPerPixel BitsAllocated BitsStored HighBit PixelRepresentation PixelPaddingValue
PlanarConfiguration"""


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    tags=st.fixed_dictionaries({}, optional={name: NUMBERS for name in COUNTS.split()}),
    texts=st.fixed_dictionaries(
        {},
        optional={
            "PhotometricInterpretation": st.sampled_from(
                ["MONOCHROME1", "RGB", "PALETTE COLOR", "HSV", "", "YBR_FULL_422"]
            ),
            "WindowCenter": st.sampled_from(["", "0", "-1e30", "1e308", "128\\64", "NaN"]),
            "WindowWidth": st.sampled_from(["", "0", "1", "-5", "1e308", "1e-30"]),
            "RescaleSlope": st.sampled_from(["", "0", "-1", "1e300", "1e-300"]),
            "RescaleIntercept": st.sampled_from(["", "-1e308", "1e308"]),
            "NumberOfFrames": st.sampled_from(["", "0", "1", "2", "-3", "999999999"]),
            "VOILUTFunction": st.sampled_from(["LINEAR", "SIGMOID", "LINEAR_EXACT", "OTHER"]),
        },
    ),
    syntax=st.sampled_from(sorted(SYNTAXES.values())),
)
def test_contradictory_headers(dicom, tags, texts, syntax):
    values = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) % 256
    values = values.astype(np.uint8) if syntax == SYNTAXES["baseline"] else values
    counts = {name: value if value is None else struct.pack("<H", value) for name, value in tags.items()}
    _read(dicom(values, syntax=UID(syntax), **counts, **{name: text.encode() for name, text in texts.items()}))
