"""DICOM radiographs to the grey image a viewer would show: modality transform, VOI transform, then inversion.

Only the elements listed here are ever parsed, so a patient's name, identifiers and dates cannot reach a result, a log
line or an error. `read_dicom_dataset`, which keeps them, exists for writing results back into the same study.
"""

from __future__ import annotations

import zlib
from io import BytesIO

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from hf_pneumo.imaging import dicom_display, dicom_pixels, dicom_projection
from hf_pneumo.imaging.decoder_warnings import quiet
from hf_pneumo.imaging.file_formats import Source, read_bytes, sniff
from hf_pneumo.imaging.raster import is_coloured
from hf_pneumo.imaging.xray import Limits, Xray, XrayReadError

_ELEMENTS: list[str | int] = [
    *" ".join(module.KEYWORDS for module in (dicom_pixels, dicom_display, dicom_projection)).split(),
    *dicom_pixels.OVERLAY_BITS,
]


def decode_dicom(content: bytes, limits: Limits) -> Xray:
    """Decode the first frame of a DICOM radiograph as it is meant to be displayed, with square pixels.

    Modality LUT or rescale (PS3.3 C.11.1), VOI LUT or window (C.11.2), MONOCHROME1 inverted last (C.7.6.3.1.2).
    Raises XrayReadError for what the file lacks; damage surfaces as whatever pydicom or a codec raises.
    """
    dataset = _parse(content, limits, _ELEMENTS)
    if "PixelData" not in dataset and "Rows" not in dataset and content[128:132] != b"DICM":
        raise XrayReadError("The file is not an X-ray image: neither a picture nor a DICOM object with one.")
    stored = dicom_pixels.stored_values(dataset, limits)
    notes = [*stored.notes, *dicom_projection.header_notes(dataset)]
    if stored.photometric == "RGB":
        pixels = np.asarray(Image.fromarray(stored.values).convert("L"), np.float32) / np.float32(255)
        if is_coloured(stored.values):
            notes.append(dicom_display.IN_COLOUR)
    else:
        pixels = dicom_display.displayed(dataset, stored, notes)
    pixels = _squared(pixels, dicom_projection.pixel_ratio(dataset, notes), limits, notes)
    projection = dicom_projection.projection(dataset, notes)
    return Xray(
        pixels,
        "DICOM",
        stored.bits,
        tuple(notes),
        dicom_projection.view(dataset),
        projection,
        age=dicom_projection.age(dataset),
        coloured=dicom_display.IN_COLOUR in notes,
    )


def _squared(pixels: np.ndarray, ratio: float, limits: Limits, notes: list[str]) -> np.ndarray:
    """`pixels` resampled so that they are square; `ratio` is the height of one by its width."""
    if ratio == 1:
        return pixels
    notes.append(f"The pixels are not square ({ratio:.3g} times as high as wide): the film was resampled.")
    height, width = pixels.shape
    down, across = max(ratio, 1), max(1 / ratio, 1)  # nothing is lost by stretching
    if height * down * width * across > limits.pixels:
        down, across = min(ratio, 1), min(1 / ratio, 1)
    size = max(1, round(width * across)), max(1, round(height * down))
    return np.clip(np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)), 0, 1)


def read_dicom_dataset(source: Source, *, max_bytes: int = Limits().bytes) -> Dataset:
    """The complete header of a DICOM file, without pixel data, for objects derived from it.

    It holds the patient's identity: never log it and never hand it to a model's user as text.
    Raises XrayReadError when `source` is not a readable DICOM file.
    """
    failure: XrayReadError
    try:
        content = read_bytes(source, max_bytes)
        if sniff(content) != "DICOM":
            raise XrayReadError("The file is a picture, not a DICOM object; give the DICOM file of the study.")
        with quiet():
            dataset = _parse(content, Limits(bytes=max_bytes), None)
        if "SOPClassUID" in dataset:
            return dataset
        failure = XrayReadError("The DICOM header names no SOP class, so nothing can refer to it; export it again.")
    except XrayReadError as error:
        failure = error
    except Exception as error:  # pydicom raises almost anything on damaged files
        failure = XrayReadError(f"The DICOM header is damaged ({type(error).__name__}); export the film again.")
    failure.__context__ = failure.__cause__ = None
    raise failure.with_traceback(None)


def _parse(content: bytes, limits: Limits, keywords: list[str | int] | None) -> Dataset:
    """Read the named elements, or with None everything but the pixels."""
    _refuse_deflate_bomb(content, limits)
    return dcmread(BytesIO(content), force=True, specific_tags=keywords, stop_before_pixels=keywords is None)


def _refuse_deflate_bomb(content: bytes, limits: Limits) -> None:
    """pydicom inflates a deflated data set whole: count its size first, in pieces."""
    if DeflatedExplicitVRLittleEndian.encode() not in content[:4096]:
        return
    stream = BytesIO(content)
    stream.seek(132 if content[128:132] == b"DICM" else 0)
    read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    inflater, packed, size = zlib.decompressobj(-zlib.MAX_WBITS), stream.read(), 0
    while packed and not inflater.eof:
        size += len(inflater.decompress(packed, 1 << 20))
        packed = inflater.unconsumed_tail
        if size > limits.bytes:
            raise XrayReadError(f"The DICOM file inflates to more than the {limits.bytes:,} bytes of `max_bytes`.")
