"""PNG in a hurry: one filter for all rows and no search for repetitions, of which the grain of a film has none.

Pillow tries five filters a row, which alone takes longer than all of this. (PNG specification, W3C 2025.)
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB, _SUB = 2, 1  # colour type, and the filter that leaves of a pixel its difference from the one before it
_MEMORY = 9  # of zlib's: the most


def encode(image: Image.Image) -> bytes:
    """An RGB picture as PNG: a fifth larger than at Pillow's fastest, in about half the time."""
    pixels = np.asarray(image.convert("RGB"))  # (H, W, 3)
    height, width, _ = pixels.shape
    rows = np.empty((height, 1 + 3 * width), dtype=np.uint8)
    rows[:, 0] = _SUB
    rows[:, 1:4] = pixels[:, 0]
    np.subtract(pixels[:, 1:].reshape(height, -1), pixels[:, :-1].reshape(height, -1), out=rows[:, 4:])
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, _MEMORY, zlib.Z_HUFFMAN_ONLY)
    packed = packer.compress(rows.data) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, _RGB, 0, 0, 0)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)
