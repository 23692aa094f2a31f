"""Any X-ray file to one grey image: the single door through which pixels enter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hf_pneumo.imaging.decoder_warnings import quiet
from hf_pneumo.imaging.file_formats import Source, read_bytes, sniff
from hf_pneumo.imaging.raster import decode_raster
from hf_pneumo.imaging.xray import Limits, Xray, XrayReadError

__all__ = ["Limits", "Source", "Xray", "XrayReadError", "input_checks", "read_xray"]

MAX_PIXELS = Limits().pixels

SMALLEST_SIDE = 128  # the smallest input that any of the supported networks was built for, with a margin
LARGEST_ASPECT = 1.8  # of long to short side; chest films stay below 1.4
# Between the 1st and the 99th percentile of the pixels; the palest of 1,048 films of three collections has .34.
LEAST_CONTRAST = 0.25
FEWEST_LEVELS = 16


def read_xray(source: Source, *, max_pixels: int = MAX_PIXELS, max_bytes: int | None = None) -> Xray:
    """Read a chest film from a path, bytes or a binary file object; the format is found by content.

    Readable are PNG, JPEG, TIFF, WebP, BMP, GIF, JPEG 2000 (1 to 16 bits, float TIFF) and DICOM, first page only.
    The result is upright, windowed and never inverted; `Xray.notes` holds what the reader noticed and `input_checks`.
    Sizes over `max_pixels` or `max_bytes` (by default four a pixel) are refused before decoding. Thread-safe.
    Raises XrayReadError, and nothing else, whatever the file holds.
    """
    try:
        limits = Limits(max_pixels, max(Limits().bytes, 4 * max_pixels) if max_bytes is None else max_bytes)
        content = read_bytes(source, limits.bytes)
        kind = sniff(content)
    except XrayReadError as error:
        failure = error
    else:
        outcome = _decode(content, kind, limits)
        if isinstance(outcome, Xray):
            return outcome
        failure = outcome
    # Raised here, bare, because a decoder's own exception may quote a patient's name in its message or its frames.
    failure.__context__ = failure.__cause__ = None
    raise failure.with_traceback(None)


def _decode(content: bytes, kind: str, limits: Limits) -> Xray | XrayReadError:
    try:
        with quiet():
            film = _decode_dicom(content, limits) if kind == "DICOM" else decode_raster(content, kind, limits)
        return replace(film, notes=(*film.notes, *input_checks(film.pixels)))
    except XrayReadError as error:
        return error
    except MemoryError:
        return XrayReadError(f"There is not enough memory to decode this {kind} file; scale the image down.")
    except Exception as error:  # decoders raise almost anything on damaged data
        if "truncated" in str(error).lower():
            return XrayReadError(f"The {kind} file is cut short; copy or export it again.")
        name = type(error).__name__
        return XrayReadError(f"The {kind} file is damaged or unusual and cannot be decoded ({name}); export it again.")


def _decode_dicom(content: bytes, limits: Limits) -> Xray:
    try:
        from hf_pneumo.imaging.dicom import decode_dicom  # pydicom is an extra, and slow to import
    except ModuleNotFoundError as error:
        raise XrayReadError(f"Reading DICOM needs {error.name}: pip install 'hf-pneumo[dicom]'.") from None
    return decode_dicom(content, limits)


def input_checks(pixels: np.ndarray) -> tuple[str, ...]:
    """Plain sentences on what makes `pixels`, float (H, W) in [0, 1], unlike a chest film; () when nothing does."""
    height, width = pixels.shape
    found = []
    if min(height, width) < SMALLEST_SIDE:
        found.append(f"The image is small ({width} x {height} pixels): fine structure is lost.")
    if max(height, width) > LARGEST_ASPECT * min(height, width):
        found.append(f"The image is unusually long or wide ({width} x {height} pixels) for a chest film.")
    step = max(1, int(np.sqrt(pixels.size / 250_000)))  # a sample is enough
    sample = pixels[::step, ::step]
    low, high = np.percentile(sample, (1, 99))
    if low == high == sample.flat[0] and np.ptp(pixels) == 0:
        found.append("The image is one flat grey: there is nothing to see in it.")
    elif high - low < LEAST_CONTRAST:
        found.append("The image has very little contrast.")
    elif np.unique(np.rint(sample * 255)).size < FEWEST_LEVELS:
        found.append("The image has only a few grey levels, like a drawing or a scanned text.")
    return tuple(found)
