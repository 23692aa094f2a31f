"""The stored values of one DICOM frame: which codec, how many bits, how many bytes, before any display step."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, get_decoder
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from hf_pneumo.imaging.xray import Limits, XrayReadError

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")

JPEG_BASELINE, JPEG_EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS, JPEG_LOSSLESS_FIRST = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
JPEG_LS, JPEG_LS_NEAR = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203))
RLE = "1.2.840.10008.1.2.5"

# What would decode each syntax, for the message when it is not installed.
_PLUGINS = {
    **dict.fromkeys(
        (JPEG_BASELINE, JPEG_EXTENDED, JPEG_LOSSLESS, JPEG_LOSSLESS_FIRST, JPEG_LS, JPEG_LS_NEAR), "pylibjpeg-libjpeg"
    ),
    **dict.fromkeys(JPEG_2000, "pylibjpeg-openjpeg"),
}
# JPEG start-of-frame markers and the syntax that uses each; for files that do not name their syntax.
_FRAME_MARKERS = {0xC0: JPEG_BASELINE, 0xC1: JPEG_EXTENDED, 0xC3: JPEG_LOSSLESS_FIRST, 0xF7: JPEG_LS}

_ITEM_TAG = b"\xfe\xff\x00\xe0"
OVERLAY_BIT = 0x60000102  # Overlay Bit Position: where old devices hid an overlay in the unused bits
_UNDEFINED_LENGTH = 0xFFFFFFFF
_HEADER_REACH = 1 << 20  # application segments before the frame header are far shorter


class Stream(NamedTuple):
    """The header of a JPEG, JPEG-LS or JPEG 2000 stream."""

    rows: int
    columns: int
    samples: int
    precision: int
    syntax: str


class Stored(NamedTuple):
    """values: integers (H, W), or uint8 (H, W, 3) for colour. bits: depth. photometric: as decoded."""

    values: np.ndarray
    bits: int
    photometric: str
    notes: tuple[str, ...]


def integer(dataset: Dataset, keyword: str | int) -> int | None:
    """The first value of an element as an integer, or None when it is absent or no number."""
    number = real(dataset, keyword)
    return None if number is None else int(number)


def real(dataset: Dataset, keyword: str | int) -> float | None:
    """The first value of an element as a finite float, or None when it is absent or no number."""
    try:
        value = dataset[keyword].value if keyword in dataset else None
        first = value[0] if isinstance(value, (list, tuple)) or hasattr(value, "append") else value
        number = float(first)
    except Exception:  # pydicom converts lazily and raises many kinds on malformed values
        return None
    return number if np.isfinite(number) else None


def word(dataset: Dataset, keyword: str) -> str:
    """A code string in capitals, '' when absent or malformed."""
    try:
        value = dataset.get(keyword)
        return str(value or "").strip().upper()
    except Exception:  # as in `real`
        return ""


def stored_values(dataset: Dataset, limits: Limits) -> Stored:
    """Decode the single frame of `dataset`.

    Raises XrayReadError for what is missing, too large, not single-framed or not decodable here.
    """
    _refuse_other_objects(dataset)
    element = dataset.get_item("PixelData")
    raw = bytes(element.value or b"")
    syntax = _transfer_syntax(dataset, raw, getattr(element, "length", 0) == _UNDEFINED_LENGTH)
    decoder = _decoder(syntax)
    stream = read_stream(raw) if syntax.is_encapsulated else None
    notes: list[str] = []
    rows, columns, samples = _shape(dataset, stream, notes)
    limits.check_size(columns, rows)
    photometric = _photometric(dataset, samples, notes)
    allocated, bits, signed = _depth(dataset, stream, len(raw) // (rows * columns * samples))
    if not syntax.is_encapsulated:
        raw = _one_frame(raw, rows * columns * samples * allocated // 8, photometric, notes)
    options = dict(
        rows=rows,
        columns=columns,
        samples_per_pixel=samples,
        number_of_frames=1,
        photometric_interpretation=photometric,
        bits_allocated=allocated,
        bits_stored=bits,
        pixel_representation=int(signed),
        planar_configuration=min(max(integer(dataset, "PlanarConfiguration") or 0, 0), 1),
        pixel_keyword="PixelData",
        pixel_vr=element.VR or "OW",
        correct_unused_bits=signed,  # unsigned ones are looked at below: a wrong depth must not wrap values
    )
    try:
        # pylibjpeg-rle panics on damaged data, which no `except Exception` catches; pydicom's own decoder is as good.
        plugin = "pydicom" if syntax == RLE else ""
        values, _ = decoder.as_array(raw, index=0, decoding_plugin=plugin, **options)
    except RuntimeError:  # what pydicom raises when each installed plugin has failed
        tried = ", ".join(decoder.available_plugins)
        raise XrayReadError(
            f"The {syntax.name} pixel data are damaged or beyond the installed decoders ({tried}); export the film "
            "uncompressed, or try `pip install python-gdcm`, which reads more variants."
        ) from None
    if photometric == "PALETTE COLOR":
        values, samples, bits = apply_color_lut(values, dataset), 3, 8
    if samples == 3:
        return Stored(_eight_bits(values, bits), bits, "RGB", tuple(notes))
    values, bits = _fit_depth(dataset, values, bits, notes)
    return Stored(values, bits, photometric, tuple(notes))


def _refuse_other_objects(dataset: Dataset) -> None:
    if "PixelData" not in dataset:
        if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
            raise XrayReadError("The DICOM object holds floating point maps, not a film; export the original image.")
        modality = word(dataset, "Modality")
        kind = f" (modality {modality})" if re.fullmatch(r"[A-Z]{2,6}", modality) else ""
        raise XrayReadError(f"The DICOM object holds no pixel data{kind}; choose the object that holds the image.")
    frames = integer(dataset, "NumberOfFrames") or 1
    if frames > 1:
        raise XrayReadError(
            f"The DICOM object holds {frames} frames; a radiograph has one. Export the frame you mean, for example "
            "with `dcm2img --frame 1 in.dcm out.png` of DCMTK or `pydicom.pixels.pixel_array(path, index=0)`."
        )


def _transfer_syntax(dataset: Dataset, raw: bytes, undefined_length: bool) -> UID:
    """The syntax the pixel data are really in: a missing or wrong UID is replaced by what the bytes show."""
    named = UID(str(dataset.file_meta.get("TransferSyntaxUID") or ""))
    known_codec = named.is_transfer_syntax and named.is_encapsulated
    if raw[:4] == _ITEM_TAG and (known_codec or undefined_length):
        if known_codec:
            return named
        stream = read_stream(raw)
        return UID(stream.syntax if stream else RLE)
    implicit, little = dataset.original_encoding
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _decoder(syntax: UID) -> Decoder:
    name = syntax.name if syntax.is_transfer_syntax and not syntax.is_private else "a private transfer syntax"
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        decoder = None
    if decoder is not None and decoder.is_available:
        return decoder
    plugin = _PLUGINS.get(syntax)
    advice = f"`pip install pylibjpeg {plugin}` brings the decoder" if plugin else "no plugin decodes it"
    raise XrayReadError(
        f"The DICOM pixel data are compressed as {name}; {advice}, or export the film uncompressed (Explicit VR Little "
        "Endian)."
    )


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


def _depth(dataset: Dataset, stream: Stream | None, bytes_per_value: int) -> tuple[int, int, bool]:
    """Bits allocated, bits stored and whether values are signed, mended where the header cannot be right."""
    allocated, bits = integer(dataset, "BitsAllocated"), integer(dataset, "BitsStored")
    if stream is not None:
        allocated = 8 if stream.precision <= 8 else 16 if stream.precision <= 16 else 32
        bits = bits if bits is not None and stream.precision <= bits <= allocated else stream.precision
    elif allocated is None:
        allocated = {1: 8, 2: 16, 3: 16, 4: 32}.get(bytes_per_value, 16)
    if allocated not in (8, 16, 32):
        raise XrayReadError(
            f"The DICOM image allocates {allocated} bits per value; readable are 8, 16 and 32 (1 bit is a mask, not a "
            "film)."
        )
    if bits is None or not 1 <= bits <= allocated:
        bits = allocated
    return allocated, bits, integer(dataset, "PixelRepresentation") == 1


def _one_frame(raw: bytes, expected: int, photometric: str, notes: list[str]) -> bytes:
    if photometric == "YBR_FULL_422":  # two pixels share their colour
        expected = expected // 3 * 2
    if len(raw) < expected:
        there = f"{len(raw):,} of {expected:,} bytes are there"
        raise XrayReadError(f"The DICOM pixel data are cut short: {there}; copy or export the file again.")
    if len(raw) >= 2 * expected:
        notes.append("The pixel data hold more than one frame; only the first was read.")
    return raw[: expected + expected % 2]  # big-endian bytes come in pairs, padding included


def _eight_bits(values: np.ndarray, bits: int) -> np.ndarray:
    if values.dtype == np.uint8:
        return values
    return np.clip(values.astype(np.int64) >> max(bits - 8, 0), 0, 255).astype(np.uint8)


def _fit_depth(dataset: Dataset, values: np.ndarray, bits: int, notes: list[str]) -> tuple[np.ndarray, int]:
    """Mask overlay planes out of the unused bits; where there are none, believe the values and not the header."""
    high = int(values.max())
    if values.dtype.kind != "u" or high < 2**bits:
        return values, bits
    if (integer(dataset, OVERLAY_BIT) or 0) >= bits:
        return values & values.dtype.type(2**bits - 1), bits
    notes.append(f"The header states {bits} bits but the values need {high.bit_length()}.")
    return values, high.bit_length()


def read_stream(raw: bytes) -> Stream | None:
    """The image header in the first fragment of encapsulated pixel data; None where there is none (RLE, damage)."""
    if raw[:4] != _ITEM_TAG:
        return None
    start = 8 + int.from_bytes(raw[4:8], "little") + 8  # past the offset table and the next item's head
    code = raw[start : start + _HEADER_REACH]
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
