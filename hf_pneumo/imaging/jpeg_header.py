"""What a compressed frame in a DICOM file says of itself: size, precision and the codec that it needs."""

from __future__ import annotations

import struct
from typing import NamedTuple

JPEG_BASELINE, JPEG_EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS, JPEG_LOSSLESS_FIRST = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
JPEG_LS, JPEG_LS_NEAR = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203))

# Start-of-frame markers and the syntax that uses each; for files that do not name their syntax.
_FRAME_MARKERS = {0xC0: JPEG_BASELINE, 0xC1: JPEG_EXTENDED, 0xC3: JPEG_LOSSLESS_FIRST, 0xF7: JPEG_LS}
_REACH = 1 << 20  # application segments before the frame header are far shorter

ITEM_TAG = b"\xfe\xff\x00\xe0"


class Stream(NamedTuple):
    """The header of a JPEG, JPEG-LS or JPEG 2000 stream."""

    rows: int
    columns: int
    samples: int
    precision: int
    syntax: str


def read_stream(raw: bytes) -> Stream | None:
    """The image header in the first fragment of encapsulated pixel data; None where there is none (RLE, damage)."""
    if raw[:4] != ITEM_TAG:
        return None
    start = 8 + int.from_bytes(raw[4:8], "little") + 8  # past the offset table and the next item's head
    code = raw[start : start + _REACH]
    if code[:4] == b"\xff\x4f\xff\x51":
        return _jpeg_2000_header(code)
    return _jpeg_header(code) if code[:2] == b"\xff\xd8" else None


def _jpeg_2000_header(code: bytes) -> Stream | None:
    """SIZ marker, ISO 15444-1 A.5.1: extent less offset is the size."""
    if len(code) < 43:
        return None
    width, height, left, top = struct.unpack(">4I", code[8:24])
    samples, precision = struct.unpack(">H", code[40:42])[0], (code[42] & 0x7F) + 1
    return Stream(height - top, width - left, samples, precision, JPEG_2000[0])


def _jpeg_header(code: bytes) -> Stream | None:
    """Start-of-frame segment, ISO 10918-1 B.2.2; JPEG-LS has the same layout."""
    at = 2
    while at + 10 <= len(code) and code[at] == 0xFF:
        marker, length = code[at + 1], int.from_bytes(code[at + 2 : at + 4], "big")
        if marker == 0xFF:  # fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) or marker == 0xF7:
            precision, rows, columns, samples = struct.unpack(">BHHB", code[at + 4 : at + 10])
            return Stream(rows, columns, samples, precision, _FRAME_MARKERS.get(marker, JPEG_EXTENDED))
        else:
            at += 2 + max(length, 2)
    return None
