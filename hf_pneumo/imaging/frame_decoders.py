"""The first frame of DICOM pixel data, decompressed: each syntax by the decoders that read it right and survive damage.

Pillow and OpenJPEG are called through pydicom. GDCM, the one free decoder of lossless JPEG, JPEG-LS and 12-bit JPEG,
runs in a process of its own, since damaged data can end its process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydicom.encaps import get_frame
from pydicom.pixels import convert_color_space, get_decoder
from pydicom.uid import UID

from hf_pneumo.imaging import gdcm_process, jpeg_header
from hf_pneumo.imaging.jpeg_header import Stream
from hf_pneumo.imaging.xray import XrayReadError

_GDCM, _LIBJPEG, _OPENJPEG = "python-gdcm", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg"
_LOSSLESS = (jpeg_header.JPEG_LOSSLESS, jpeg_header.JPEG_LOSSLESS_FIRST)
_JPEG_LS = (jpeg_header.JPEG_LS, jpeg_header.JPEG_LS_NEAR)
_GDCM_SECONDS = 60  # of one frame: the largest take three

RLE = "1.2.840.10008.1.2.5"


class Layout(NamedTuple):
    """What the image pixel module says of a frame, mended. signed: whether a sample may be negative."""

    rows: int
    columns: int
    samples: int
    frames: int
    allocated: int
    stored: int
    signed: bool
    photometric: str
    planar: int
    vr: str


Decoder = Callable[[bytes, UID, Layout], np.ndarray]


def decode_frame(raw: bytes, syntax: UID, layout: Layout, stream: Stream | None) -> np.ndarray:
    """The cells of the first frame: integers (H, W), or (H, W, 3) converted to RGB.

    Raises XrayReadError that names what to install where no decoder is there, or what to do where all have failed.
    """
    decoders = _decoders(syntax, stream)
    for decode in decoders:
        try:
            return decode(raw, syntax, layout)
        except MemoryError:
            raise
        except Exception:  # decoders raise almost anything on damaged data, and quote it
            continue
    name = syntax.name if syntax.is_transfer_syntax and not syntax.is_private else "a private transfer syntax"
    if not decoders:
        package = _package(syntax)
        advice = f"`pip install {package}` brings the decoder" if package else "no package decodes it"
        raise XrayReadError(
            f"The DICOM pixel data are compressed as {name}; {advice}, or export the film uncompressed (Explicit VR "
            "Little Endian)."
        )
    extra = ""
    if syntax in _JPEG_LS and stream and stream.precision in (6, 7) and not _has_libjpeg(syntax):
        extra = f", or `pip install pylibjpeg {_LIBJPEG}` (GPL), which reads JPEG-LS of {stream.precision} bits"
    raise XrayReadError(
        f"The {name} pixel data are damaged or beyond the installed decoders; export the film uncompressed{extra}."
    )


def _decoders(syntax: UID, stream: Stream | None) -> list[Decoder]:
    """What can decode `syntax` here, best first."""
    if syntax in (*_LOSSLESS, *_JPEG_LS) or (syntax == jpeg_header.JPEG_EXTENDED and stream and stream.precision > 8):
        gdcm: list[Decoder] = [_by_gdcm] if find_spec("gdcm") else []
        return [*gdcm, _by_pydicom("pylibjpeg")] if _has_libjpeg(syntax) else gdcm
    try:
        available = get_decoder(syntax).available_plugins
    except NotImplementedError:
        return []
    if not syntax.is_encapsulated:
        return [_by_pydicom("")]
    # pylibjpeg-rle panics on damaged data, which no `except Exception` catches; pydicom's own decoder is as good.
    wanted = ("pydicom",) if syntax == RLE else ("pillow",) if syntax not in jpeg_header.JPEG_2000 else None
    return [_by_pydicom(name) for name in wanted or ("pylibjpeg", "pillow") if name in available]


def _has_libjpeg(syntax: UID) -> bool:
    return "pylibjpeg" in get_decoder(syntax).available_plugins


def _package(syntax: UID) -> str:
    if syntax in (*_LOSSLESS, *_JPEG_LS, jpeg_header.JPEG_EXTENDED):
        return _GDCM
    return f"pylibjpeg {_OPENJPEG}" if syntax in jpeg_header.JPEG_2000 else ""


def _by_pydicom(plugin: str) -> Decoder:
    def decode(raw: bytes, syntax: UID, layout: Layout) -> np.ndarray:
        values, _ = get_decoder(syntax).as_array(
            raw,
            index=0,
            decoding_plugin=plugin,
            view_only=True,
            rows=layout.rows,
            columns=layout.columns,
            samples_per_pixel=layout.samples,
            number_of_frames=layout.frames,
            photometric_interpretation=layout.photometric,
            bits_allocated=layout.allocated,
            bits_stored=layout.stored,
            pixel_representation=int(layout.signed),
            planar_configuration=layout.planar,
            pixel_keyword="PixelData",
            pixel_vr=layout.vr,
            correct_unused_bits=False,  # `dicom_pixels` looks at them
        )
        return values

    return decode


def _by_gdcm(raw: bytes, syntax: UID, layout: Layout) -> np.ndarray:
    header = dict(
        rows=layout.rows,
        columns=layout.columns,
        samples=layout.samples,
        allocated=layout.allocated,
        stored=layout.stored,
        signed=0,  # the sign is taken from the stored bits, as in uncompressed frames
        photometric=layout.photometric,
        syntax=str(syntax),
    )
    frame = get_frame(raw, 0, number_of_frames=layout.frames)
    done = subprocess.run(
        [sys.executable, "-P", str(Path(gdcm_process.__file__))],
        input=json.dumps(header).encode() + b"\n" + frame,
        capture_output=True,
        timeout=_GDCM_SECONDS,
        check=True,
    )
    kind = np.dtype(f"<u{layout.allocated // 8}")
    shape = (layout.rows, layout.columns, layout.samples)[: 2 if layout.samples == 1 else 3]
    cells = np.frombuffer(done.stdout, kind).reshape(shape)
    if layout.samples == 3 and layout.photometric.startswith("YBR_FULL"):
        return convert_color_space(cells, layout.photometric, "RGB")
    return cells
