"""The stored values of one DICOM frame: size and bits settled by PS3.3 C.7.6.3 and PS3.5 8, mended where wrong."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from hf_pneumo.imaging.dicom_elements import integer, word
from hf_pneumo.imaging.frame_decoders import RLE, Layout, decode_frame
from hf_pneumo.imaging.jpeg_header import ITEM_TAG, Stream, read_stream
from hf_pneumo.imaging.xray import Limits, XrayReadError

KEYWORDS = """
PhotometricInterpretation Rows Columns SamplesPerPixel PlanarConfiguration NumberOfFrames BitsAllocated BitsStored
HighBit PixelRepresentation PixelPaddingValue PixelData FloatPixelData DoubleFloatPixelData Modality
"""
# Overlay Bit Position of the groups 6000 to 601E (PS3.3 C.9.2): where old devices hid overlays in the unused bits.
OVERLAY_BITS = [group << 16 | 0x0102 for group in range(0x6000, 0x6020, 2)]

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")

_UNDEFINED_LENGTH = 0xFFFFFFFF
_SAMPLED_LINES = 256  # rows and columns by which two readings of the same cells are compared


class Depth(NamedTuple):
    """Where a sample lies in its cell: bits of the cell, bits of the sample, number of its highest bit; its sign."""

    allocated: int
    stored: int
    high: int
    signed: bool


class Stored(NamedTuple):
    """values: integers (H, W), or uint8 (H, W, 3) for colour. bits: depth. photometric: as decoded.

    padding: pixels outside the film where only the bits beside the sample tell them, else None.
    """

    values: np.ndarray
    bits: int
    photometric: str
    notes: tuple[str, ...]
    padding: np.ndarray | None = None


def stored_values(dataset: Dataset, limits: Limits) -> Stored:
    """Decode the first frame of `dataset`.

    Raises XrayReadError for what is missing, too large or not decodable here.
    """
    _refuse_other_objects(dataset)
    element = dataset.get_item("PixelData")
    raw = bytes(element.value or b"")
    syntax = _transfer_syntax(dataset, raw, getattr(element, "length", 0) == _UNDEFINED_LENGTH)
    stream = read_stream(raw) if syntax.is_encapsulated else None
    notes: list[str] = []
    rows, columns, samples = _shape(dataset, stream, notes)
    limits.check_size(columns, rows)
    photometric = _photometric(dataset, samples, notes)
    depth = _depth(dataset, stream, len(raw) // (rows * columns * samples))
    frames = max(1, integer(dataset, "NumberOfFrames") or 1)
    if not syntax.is_encapsulated:
        raw, present = _one_frame(raw, rows * columns * samples * depth.allocated // 8, photometric)
        frames = max(frames, present)
    if frames > 1:
        notes.append(f"The DICOM object holds {frames} frames; only the first was read.")
    layout = Layout(
        rows,
        columns,
        samples,
        frames if syntax.is_encapsulated else 1,
        depth.allocated,
        stream.precision if stream else depth.stored,
        depth.signed,
        photometric,
        planar=min(max(integer(dataset, "PlanarConfiguration") or 0, 0), 1),
        vr=element.VR or "OW",
    )
    cells = decode_frame(raw, syntax, layout, stream)
    if samples == 3:
        return Stored(_eight_bits(cells, depth.stored), depth.stored, "RGB", tuple(notes))
    if stream is not None:  # a codec's container may be wider than the header's cell
        depth = depth._replace(allocated=8 * cells.dtype.itemsize)
    values, bits = _samples(cells, depth, _has_hidden_overlay(dataset, depth), notes)
    return Stored(values, bits, photometric, tuple(notes), _hidden_padding(dataset, cells, depth))


def _samples(cells: np.ndarray, depth: Depth, hidden_overlay: bool, notes: list[str]) -> tuple[np.ndarray, int]:
    """The samples in `cells`, without what else their unused bits hold, and the number of bits that they have.

    The standard's rule (PS3.5 8.1.1): a sample is `stored` bits that end at bit `high`. A header that cuts samples off
    is told by what it makes of the film: neighbouring pixels then differ more than those of the whole cells.
    """
    allocated, stored, high, is_signed = depth
    unsigned = cells.view(np.dtype(f"u{cells.dtype.itemsize}").newbyteorder(cells.dtype.byteorder))
    unsigned = unsigned.astype(unsigned.dtype.newbyteorder("="), copy=False)
    whole = unsigned.view(f"i{unsigned.dtype.itemsize}") if is_signed else unsigned
    if stored == allocated:
        return whole, stored
    above, spare = allocated - 1 - high, allocated - stored
    top = int(unsigned.max())
    if above < spare and top < 2**stored and np.bitwise_or.reduce(unsigned, axis=None) % 2 ** (high + 1 - stored):
        notes.append(f"The header states high bit {high}, which the values contradict; it was taken as {stored - 1}.")
        above = spare
    if above == spare and top < 2**stored and not is_signed:
        return unsigned, stored
    shifted = unsigned << above if above else unsigned
    values = (shifted.view(whole.dtype) if is_signed else shifted) >> spare
    if above == spare and not hidden_overlay and _roughness(whole) < _roughness(values):
        needed = max(int(whole.max()).bit_length(), int(~whole.min()).bit_length() if is_signed else 0) + is_signed
        notes.append(f"The header states {stored} bits but the values need {needed}.")
        return whole, needed
    return values, stored


def _roughness(values: np.ndarray) -> float:
    """Mean difference of neighbouring pixels along some rows and columns."""
    step = max(1, min(values.shape) // _SAMPLED_LINES)
    lines = values[::step].astype(np.int64), values[:, ::step].T.astype(np.int64)
    return sum(float(np.abs(np.diff(line, axis=1)).mean()) for line in lines if line.shape[1] > 1)


def _has_hidden_overlay(dataset: Dataset, depth: Depth) -> bool:
    """Whether an overlay is declared to lie in the unused bits."""
    places = (integer(dataset, tag) or 0 for tag in OVERLAY_BITS)  # 0: the overlay has data of its own
    return any(place > depth.high or 0 < place <= depth.high - depth.stored for place in places)


def _hidden_padding(dataset: Dataset, cells: np.ndarray, depth: Depth) -> np.ndarray | None:
    """Pixels equal to a padding value that no sample can have, since it needs the bits beside it."""
    value = integer(dataset, "PixelPaddingValue")
    if value is None or depth.stored == depth.allocated:
        return None
    least = -(2 ** (depth.stored - 1)) if depth.signed else 0
    if least <= value < least + 2**depth.stored:
        return None
    unsigned = cells.view(np.dtype(f"u{cells.dtype.itemsize}").newbyteorder(cells.dtype.byteorder))
    padding = unsigned == value % 2**depth.allocated
    return padding if padding.any() and not padding.all() else None


def _refuse_other_objects(dataset: Dataset) -> None:
    if "PixelData" in dataset:
        return
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise XrayReadError("The DICOM object holds floating point maps, not a film; export the original image.")
    modality = word(dataset, "Modality")
    kind = f" (modality {modality})" if re.fullmatch(r"[A-Z]{2,6}", modality) else ""
    raise XrayReadError(f"The DICOM object holds no pixel data{kind}; choose the object that holds the image.")


def _transfer_syntax(dataset: Dataset, raw: bytes, undefined_length: bool) -> UID:
    """The syntax the pixel data are really in: a missing or wrong UID is replaced by what the bytes show."""
    named = UID(str(dataset.file_meta.get("TransferSyntaxUID") or ""))
    known_codec = named.is_transfer_syntax and named.is_encapsulated
    if raw[:4] == ITEM_TAG and (known_codec or undefined_length):
        if known_codec:
            return named
        stream = read_stream(raw)
        return UID(stream.syntax if stream else RLE)
    implicit, little = dataset.original_encoding
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _shape(dataset: Dataset, stream: Stream | None, notes: list[str]) -> tuple[int, int, int]:
    rows, columns, samples = (integer(dataset, key) for key in ("Rows", "Columns", "SamplesPerPixel"))
    if stream is not None:
        if (rows, columns) != (stream.rows, stream.columns):
            notes.append("The header's image size is missing or wrong; that of the compressed image was used.")
        return stream.rows, stream.columns, stream.samples
    if rows is None or columns is None:
        missing = "Rows (0028,0010)" if rows is None else "Columns (0028,0011)"
        raise XrayReadError(f"The DICOM header has no usable {missing}; export the film again.")
    if samples is None:
        samples = 3 if word(dataset, "PhotometricInterpretation") in COLOUR else 1
    if samples not in (1, 3):
        raise XrayReadError(f"The DICOM image has {samples} samples per pixel; a film has 1, a colour image 3.")
    return rows, columns, samples


def _photometric(dataset: Dataset, samples: int, notes: list[str]) -> str:
    stated = word(dataset, "PhotometricInterpretation")
    if samples == 1 and stated in (*GREY, "PALETTE COLOR") or samples == 3 and stated in COLOUR:
        return stated
    if stated not in ("", *GREY, *COLOUR, "PALETTE COLOR"):
        shown = f" {stated}" if re.fullmatch(r"[A-Z0-9_ ]{1,16}", stated) else ""
        allowed = ", ".join((*GREY, "PALETTE COLOR", *COLOUR))
        raise XrayReadError(f"The DICOM photometric interpretation{shown} is not supported; readable are {allowed}.")
    assumed = "MONOCHROME2" if samples == 1 else "RGB"
    notes.append(f"The header's photometric interpretation is missing or does not fit; {assumed} was assumed.")
    return assumed


def _depth(dataset: Dataset, stream: Stream | None, bytes_per_value: int) -> Depth:
    """Bits allocated and stored, the high bit and the sign, mended where the header cannot be right."""
    allocated, stored, high = (integer(dataset, key) for key in ("BitsAllocated", "BitsStored", "HighBit"))
    if stream is not None:
        allocated = 8 if stream.precision <= 8 else 16 if stream.precision <= 16 else 32
    elif allocated is None:
        allocated = {1: 8, 2: 16, 3: 16, 4: 32}.get(bytes_per_value, 16)
    if allocated not in (8, 16, 32):
        raise XrayReadError(
            f"The DICOM image allocates {allocated} bits per value; readable are 8, 16 and 32 (1 bit is a mask, not a "
            "film)."
        )
    if stored is None or not 1 <= stored <= allocated:
        stored = allocated
    if stream is not None:
        stored = min(stored, stream.precision)
    # A codec hands over samples, not cells, unless it was given whole cells to compress.
    if high is None or not stored <= high + 1 <= allocated or (stream and stream.precision < allocated):
        high = stored - 1
    return Depth(allocated, stored, high, integer(dataset, "PixelRepresentation") == 1)


def _one_frame(raw: bytes, expected: int, photometric: str) -> tuple[bytes, int]:
    """The bytes of the first uncompressed frame, and how many frames there are."""
    if photometric == "YBR_FULL_422":  # two pixels share their colour
        expected = expected // 3 * 2
    if len(raw) < expected:
        there = f"{len(raw):,} of {expected:,} bytes are there"
        raise XrayReadError(f"The DICOM pixel data are cut short: {there}; copy or export the file again.")
    frames = max(1, (len(raw) - expected % 2) // expected)
    return raw[: expected + expected % 2], frames  # big-endian bytes come in pairs, padding included


def _eight_bits(values: np.ndarray, bits: int) -> np.ndarray:
    if values.dtype == np.uint8:
        return values
    return np.clip(values.astype(np.int64) >> max(bits - 8, 0), 0, 255).astype(np.uint8)
