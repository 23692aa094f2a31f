"""Headers of compressed frames, built byte by byte."""

from __future__ import annotations

import struct

import pytest

from hf_pneumo.imaging.jpeg_header import ITEM_TAG, JPEG_2000, JPEG_LOSSLESS_FIRST, JPEG_LS, Stream, read_stream


def encapsulated(code: bytes) -> bytes:
    return ITEM_TAG + struct.pack("<I", 0) + ITEM_TAG + struct.pack("<I", len(code)) + code


def jpeg(marker: int, *, fill: bytes = b"") -> bytes:
    comment = b"\xff\xfe" + struct.pack(">H", 5) + b"abc"
    return b"\xff\xd8" + comment + fill + bytes((0xFF, marker)) + struct.pack(">HBHHB", 11, 12, 30, 20, 1) + bytes(3)


@pytest.mark.parametrize(("marker", "syntax"), [(0xC3, JPEG_LOSSLESS_FIRST), (0xF7, JPEG_LS)])
def test_a_frame_header_behind_a_comment(marker, syntax):
    assert read_stream(encapsulated(jpeg(marker))) == Stream(30, 20, 1, 12, syntax)
    assert read_stream(encapsulated(jpeg(marker, fill=b"\xff"))) == Stream(30, 20, 1, 12, syntax)


def test_the_size_of_jpeg_2000_is_extent_less_offset():
    code = b"\xff\x4f\xff\x51" + bytes(4) + struct.pack(">4I", 110, 205, 10, 5) + bytes(16) + struct.pack(">HB", 1, 15)
    assert read_stream(encapsulated(code)) == Stream(200, 100, 1, 16, JPEG_2000[0])


@pytest.mark.parametrize(
    "raw", [b"", b"no item", encapsulated(b"\xff\xd8"), encapsulated(b"\xff\x4f\xff\x51"), bytes(99)]
)
def test_what_has_no_header_gives_none(raw):
    assert read_stream(raw) is None
