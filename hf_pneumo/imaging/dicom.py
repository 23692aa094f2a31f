"""DICOM radiographs to the grey image a viewer would show: modality transform, VOI transform, then inversion.

Only the elements listed here are ever parsed, so a patient's name, identifiers and dates cannot reach a result, a log
line or an error. `read_dicom_dataset`, which keeps them, exists for writing results back into the same study.
"""

from __future__ import annotations

import re
import zlib
from io import BytesIO

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from hf_pneumo.imaging.decoder_warnings import quiet
from hf_pneumo.imaging.dicom_pixels import OVERLAY_BIT, Stored, integer, real, stored_values, word
from hf_pneumo.imaging.file_formats import Source, read_bytes, sniff
from hf_pneumo.imaging.raster import is_coloured
from hf_pneumo.imaging.xray import Limits, Xray, XrayReadError

_KEYWORDS = """
Modality PhotometricInterpretation Rows Columns SamplesPerPixel PlanarConfiguration NumberOfFrames BitsAllocated
BitsStored PixelRepresentation PixelPaddingValue PixelPaddingRangeLimit PixelData FloatPixelData DoubleFloatPixelData
RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor BluePaletteColorLookupTableDescriptor
RedPaletteColorLookupTableData GreenPaletteColorLookupTableData BluePaletteColorLookupTableData
SegmentedRedPaletteColorLookupTableData SegmentedGreenPaletteColorLookupTableData
SegmentedBluePaletteColorLookupTableData
RescaleSlope RescaleIntercept ModalityLUTSequence WindowCenter WindowWidth VOILUTFunction VOILUTSequence
ViewPosition ViewCodeSequence BodyPartExamined PresentationIntentType
"""

# PS3.3 C.8.11.5: the radiographic modalities. Secondary captures of films are often OT or SC.
_FILM_MODALITIES = {"CR", "DX", "DR", "RG", "XR", "OT", "SC", "RF", "PX", "MG", ""}
_VIEWS = {name: name for name in ("PA", "AP", "LL", "RL", "LLD", "RLD", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO")}
_VIEWS |= {"LAT": "LATERAL", "LATERAL": "LATERAL", "POSTERO_ANTERIOR": "PA", "ANTERO_POSTERIOR": "AP"}
# Context group 4010, SNOMED CT and the older SNOMED RT codes.
_VIEW_CODES = {"272479007": "PA", "R-10214": "PA", "399348003": "AP", "R-10206": "AP"}
_VIEW_CODES |= {"399173006": "LL", "R-10236": "LL", "399198007": "RL", "R-10232": "RL", "399067008": "LATERAL"}
_SIDE_VIEWS = ("LL", "RL", "LATERAL")


def decode_dicom(content: bytes, limits: Limits) -> Xray:
    """Decode the only frame of a DICOM radiograph as it is meant to be displayed.

    Modality LUT or rescale (PS3.3 C.11.1), VOI LUT or window (C.11.2), MONOCHROME1 inverted last (C.7.6.3.1.2).
    Raises XrayReadError for what the file lacks; damage surfaces as whatever pydicom or a codec raises.
    """
    dataset = _parse(content, limits, [*_KEYWORDS.split(), OVERLAY_BIT])
    if "PixelData" not in dataset and "Rows" not in dataset and content[128:132] != b"DICM":
        raise XrayReadError("The file is not an X-ray image: neither a picture nor a DICOM object with one.")
    stored = stored_values(dataset, limits)
    notes = [*stored.notes, *_header_notes(dataset)]
    if stored.photometric == "RGB":
        pixels = np.asarray(Image.fromarray(stored.values).convert("L"), np.float32) / np.float32(255)
        if is_coloured(stored.values):
            notes.append("The DICOM picture is in colour: a screen capture or a photograph is not a film.")
    else:
        pixels = _displayed(dataset, stored, notes)
    return Xray(np.ascontiguousarray(pixels, np.float32), "DICOM", stored.bits, tuple(notes), _view(dataset))


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


def _displayed(dataset: Dataset, stored: Stored, notes: list[str]) -> np.ndarray:
    """float32 (H, W) in [0, 1], 0 = black on the screen."""
    padding = _padding(dataset, stored.values)
    values, span = _modality(dataset, stored, notes)
    shown = _voi_table(dataset, values, notes)
    if shown is None:
        shown = _window(dataset, values, notes)
    if shown is None:
        visible = values if padding is None else values[~padding]
        shown = _spread(visible, values, span, stored.bits, notes)
    if stored.photometric == "MONOCHROME1":
        shown = 1 - shown
    return shown if padding is None else np.where(padding, 0, shown)


def _padding(dataset: Dataset, values: np.ndarray) -> np.ndarray | None:
    """Pixels outside the film, marked by a stored value or a range of them (PS3.3 C.7.5.1.1.2)."""
    first = integer(dataset, "PixelPaddingValue")
    if first is None:
        return None
    if values.dtype.kind == "i" and first > np.iinfo(values.dtype).max:  # written as unsigned by many devices
        first -= 2 ** (8 * values.dtype.itemsize)
    last = integer(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((first, first if last is None else last))
    padding = (values >= low) & (values <= high)
    return padding if padding.any() and not padding.all() else None


def _modality(dataset: Dataset, stored: Stored, notes: list[str]) -> tuple[np.ndarray, tuple[float, float]]:
    """Values in output units and the range that the stored depth could have produced."""
    table = _table(dataset, "ModalityLUTSequence", notes)
    if table is not None:
        entries, first, bits = table
        return _look_up(entries, first, stored.values), (0.0, 2.0**bits - 1)
    slope, intercept = real(dataset, "RescaleSlope"), real(dataset, "RescaleIntercept") or 0.0
    if slope is None or slope == 0:
        slope = 1.0
    low, high = 0, 2**stored.bits - 1
    if stored.values.dtype.kind == "i":
        low, high = low - 2 ** (stored.bits - 1), high - 2 ** (stored.bits - 1)
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return stored.values.astype(np.float64) * slope + intercept, (ends[0], ends[1])


def _table(dataset: Dataset, keyword: str, notes: list[str]) -> tuple[np.ndarray, int, int] | None:
    """Entries, first mapped value and output bits of a look-up table (PS3.3 C.11.1.1), or None."""
    if keyword not in dataset:
        return None
    try:
        item = dataset[keyword].value[0]
        count, first, bits = (int(v) for v in item.LUTDescriptor)
        data = item.LUTData
        if isinstance(data, bytes):
            data = np.frombuffer(data, "<u2" if dataset.original_encoding[1] else ">u2")
        entries = np.atleast_1d(np.asarray(data)).astype(np.int64) & 0xFFFF
    except Exception:  # absent, empty or malformed items raise many kinds
        entries, count, first, bits = np.zeros(0, np.int64), 0, 0, 0
    count = count or 2**16
    if bits <= 8 and entries.size * 2 in (count, count + 1):  # two 8-bit entries in each 16-bit word
        entries = np.stack([entries & 0xFF, entries >> 8], axis=1).ravel()
    entries = entries[:count]
    if entries.size < 2 or np.ptp(entries) == 0 or not 1 <= bits <= 16:
        notes.append("The header's look-up table is damaged and was left out.")
        return None
    if first >= 2**15 and integer(dataset, "PixelRepresentation") == 1:
        first -= 2**16
    needed = int(entries.max()).bit_length()
    if not bits - 1 <= needed <= bits:  # real tables that state 16 bits often fill 12, others overflow what they state
        bits = needed
    return entries, first, bits


def _look_up(entries: np.ndarray, first: int, values: np.ndarray) -> np.ndarray:
    index = np.clip(np.rint(values).astype(np.int64) - first, 0, entries.size - 1)
    return entries[index].astype(np.float64)


def _voi_table(dataset: Dataset, values: np.ndarray, notes: list[str]) -> np.ndarray | None:
    table = _table(dataset, "VOILUTSequence", notes)
    if table is None:
        return None
    entries, first, bits = table
    return _look_up(entries, first, values) / (2.0**bits - 1)


def _window(dataset: Dataset, values: np.ndarray, notes: list[str]) -> np.ndarray | None:
    """The first window, by the function the header names (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    centre, width = real(dataset, "WindowCenter"), real(dataset, "WindowWidth")
    if centre is None or width is None:
        return None
    function = word(dataset, "VOILUTFunction") or "LINEAR"
    if width < (1 if function == "LINEAR" else np.finfo(np.float32).eps):
        notes.append("The header's display window has no width and was left out.")
        return None
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    if width == 1:
        return (values > centre - 0.5).astype(np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def _spread(
    visible: np.ndarray, values: np.ndarray, span: tuple[float, float], bits: int, notes: list[str]
) -> np.ndarray:
    """No window in the header: 8-bit images are ready for display, deeper ones run from their darkest to brightest."""
    low, high = span
    if bits > 8:
        low, high = float(visible.min()), float(visible.max())
        notes.append("The header has no display window: the darkest value was shown black, the brightest white.")
    return np.clip((values - low) / max(high - low, np.finfo(np.float32).tiny), 0, 1)


def _header_notes(dataset: Dataset) -> list[str]:
    notes = []
    modality, part = word(dataset, "Modality"), word(dataset, "BodyPartExamined")
    if modality not in _FILM_MODALITIES and re.fullmatch(r"[A-Z]{2,6}", modality):
        notes.append(f"The header says modality {modality}: this is not a plain radiograph.")
    if part and not re.search("CHEST|THORAX|LUNG", part) and re.fullmatch(r"[A-Z]{3,16}", part):
        notes.append(f"The header says body part {part}, not CHEST.")
    if word(dataset, "PresentationIntentType") == "FOR PROCESSING":
        notes.append("The image is raw detector data (FOR PROCESSING), not the film that is read by a radiologist.")
    if _view(dataset) in _SIDE_VIEWS:
        notes.append("The header says this is a lateral view, not a frontal one.")
    return notes


def _view(dataset: Dataset) -> str | None:
    view = _VIEWS.get(re.sub(r"[ -]", "_", word(dataset, "ViewPosition")))
    if view is None and "ViewCodeSequence" in dataset:
        try:
            view = _VIEW_CODES.get(str(dataset.ViewCodeSequence[0].CodeValue))
        except Exception:  # an empty or malformed sequence names no view
            view = None
    return view
