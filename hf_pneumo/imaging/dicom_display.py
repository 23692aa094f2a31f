"""Stored values of a DICOM frame to what a screen shows: modality transform, VOI transform, inversion (PS3.3 C.11).

The transforms look at one value at a time, so they are computed once for each value that may occur, not for each pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut

from hf_pneumo.imaging.dicom_elements import integer, real, values_of, word
from hf_pneumo.imaging.dicom_pixels import Stored
from hf_pneumo.imaging.raster import is_coloured
from hf_pneumo.imaging.xray import XrayReadError

KEYWORDS = """
PixelPaddingRangeLimit RescaleSlope RescaleIntercept ModalityLUTSequence WindowCenter WindowWidth VOILUTFunction
VOILUTSequence
RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor BluePaletteColorLookupTableDescriptor
RedPaletteColorLookupTableData GreenPaletteColorLookupTableData BluePaletteColorLookupTableData
SegmentedRedPaletteColorLookupTableData SegmentedGreenPaletteColorLookupTableData
SegmentedBluePaletteColorLookupTableData
"""

IN_COLOUR = "The DICOM picture is in colour: a screen capture or a photograph is not a film."

_BLOCK = 1 << 17  # pixels looked up at once: their indices then stay in the processor's cache
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601-2, as Pillow's conversion to grey
_LEVEL = 1 / 255  # a grey level of the screen
_TINY = np.finfo(np.float32).tiny


class Table(NamedTuple):
    """A look-up table (PS3.3 C.11.1.1): entries, integers (N,) or (N, 3); the first mapped value; bits of an entry."""

    entries: np.ndarray
    first: int
    bits: int

    def look_up(self, values: np.ndarray) -> np.ndarray:
        """float64 in [0, 1]; what lies below the table takes its first entry, what lies above its last."""
        index = np.clip(np.rint(values).astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return self.entries[index] / (2.0**self.bits - 1)


def displayed(dataset: Dataset, stored: Stored, notes: list[str]) -> np.ndarray:
    """float32 (H, W) in [0, 1], 0 = black on the screen, of a grey or palette frame."""
    if stored.photometric == "PALETTE COLOR":
        palette = _palette(dataset, notes)
        step = max(1, int(np.sqrt(stored.values.size / 250_000)))  # a sample is enough
        if is_coloured(np.rint(palette.look_up(stored.values[::step, ::step]) * 255).astype(np.uint8)):
            notes.append(IN_COLOUR)
        return _of_each(stored.values, lambda values: palette.look_up(values) @ _LUMA)
    padding = stored.padding if stored.padding is not None else _padding(dataset, stored.values)
    visible = stored.values if padding is None else stored.values[~padding]
    pixels = _of_each(stored.values, _shades(dataset, stored, visible, notes))
    if padding is not None:
        pixels[padding] = 0
    return pixels


def _of_each(values: np.ndarray, shade: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """float32: `shade` of each pixel, by a table of all values where their type has few."""
    if values.dtype.itemsize > 2:
        return shade(values).astype(np.float32)
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    every = np.arange(2 ** (8 * unsigned.itemsize), dtype=unsigned)
    table = shade(every.view(values.dtype.newbyteorder("="))).astype(np.float32)
    index = np.ascontiguousarray(values, values.dtype.newbyteorder("=")).view(unsigned).ravel()
    pixels = np.empty(index.size, np.float32)
    for start in range(0, index.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        np.take(table, index[block], mode="clip", out=pixels[block])
    return pixels.reshape(values.shape)


def _padding(dataset: Dataset, values: np.ndarray) -> np.ndarray | None:
    """Pixels outside the film, marked by a stored value or a range of them (PS3.3 C.7.5.1.1.2)."""
    first = integer(dataset, "PixelPaddingValue")
    if first is None:
        return None
    last = integer(dataset, "PixelPaddingRangeLimit")
    low, high = sorted(_as_type(value, values.dtype) for value in (first, first if last is None else last))
    padding = values == low if low == high else (values >= low) & (values <= high)
    return padding if padding.any() and not padding.all() else None


def _as_type(value: int, kind: np.dtype) -> int:
    """A value that many devices write as unsigned although pixels are signed, or the other way round."""
    wrapped, (low, high) = value % 2 ** (8 * kind.itemsize), (np.iinfo(kind).min, np.iinfo(kind).max)
    return value if low <= value <= high else wrapped if wrapped <= high else wrapped - 2 ** (8 * kind.itemsize)


def _shades(
    dataset: Dataset, stored: Stored, visible: np.ndarray, notes: list[str]
) -> Callable[[np.ndarray], np.ndarray]:
    """The function from stored values to shades in [0, 1]; `visible` are those that are no padding."""
    modality = _modality(dataset, notes)
    voi = _voi(dataset, visible, modality, notes) or _spread(stored, visible, modality, notes)
    inverted = stored.photometric == "MONOCHROME1"

    def shade(values: np.ndarray) -> np.ndarray:
        shown = np.clip(voi(modality(values)), 0, 1)
        return 1 - shown if inverted else shown

    return shade


def _modality(dataset: Dataset, notes: list[str]) -> Callable[[np.ndarray], np.ndarray]:
    """From stored values to output units: a table, or rescale slope and intercept (PS3.3 C.11.1)."""
    table = _table(dataset, "ModalityLUTSequence", notes)
    if table is not None:
        return lambda values: table.look_up(values) * (2.0**table.bits - 1)
    slope, intercept = real(dataset, "RescaleSlope") or 1.0, real(dataset, "RescaleIntercept") or 0.0
    return lambda values: values.astype(np.float64) * slope + intercept


def _voi(
    dataset: Dataset, visible: np.ndarray, modality: Callable[[np.ndarray], np.ndarray], notes: list[str]
) -> Callable[[np.ndarray], np.ndarray] | None:
    """The first VOI table, else the first window (PS3.3 C.11.2); None where neither shows a film."""
    table = _table(dataset, "VOILUTSequence", notes)
    if table is not None:
        return table.look_up
    window = _window(dataset, notes)
    if window is None:
        return None
    ends = np.array([visible.min(), visible.max()])  # a window rises, so that they are its darkest and its brightest
    if ends[0] < ends[1] and np.ptp(np.clip(window(modality(ends)), 0, 1)) < _LEVEL:
        notes.append("The header's display window shows nothing of the film and was left out.")
        return None
    return window


def _table(dataset: Dataset, keyword: str, notes: list[str]) -> Table | None:
    """The first item of a Modality or VOI LUT Sequence."""
    if keyword not in dataset:
        return None
    try:
        item = dataset[keyword].value[0]
        count, first, bits = (int(v) for v in item.LUTDescriptor)
        entries = _entries(item.LUTData, count or 2**16, bits, dataset)
    except Exception:  # absent, empty or malformed items raise many kinds
        entries, first, bits = np.zeros(0, np.int64), 0, 0
    if entries.size < 2 or np.ptp(entries) == 0 or not 1 <= bits <= 16:
        notes.append("The header's look-up table is damaged and was left out.")
        return None
    needed = int(entries.max()).bit_length()
    if not bits - 1 <= needed <= bits:  # real tables that state 16 bits often fill 12, others overflow what they state
        bits = needed
    return Table(entries, _signed_first(first, dataset), bits)


def _entries(data: object, count: int, bits: int, dataset: Dataset) -> np.ndarray:
    """Entries (N,), integers: one a 16-bit word, or two where they have 8 bits (PS3.3 C.7.6.3.1.6)."""
    packed = bits <= 8
    if isinstance(data, (bytes, bytearray)):
        packed = True
        big = dataset.original_encoding[1] is False
        data = np.frombuffer(data + b"\0" * (len(data) % 2), ">u2" if big else "<u2")
    entries = np.atleast_1d(np.asarray(data)).astype(np.int64) & 0xFFFF
    if packed and entries.size * 2 in (count, count + 1):
        entries = np.stack([entries & 0xFF, entries >> 8], axis=1).ravel()
    return entries[:count]


def _signed_first(first: int, dataset: Dataset) -> int:
    """The first mapped value is as signed as the pixels (PS3.3 C.11.1.1.1), whatever the element says."""
    is_signed = integer(dataset, "PixelRepresentation") == 1
    return first - 2**16 if is_signed and first >= 2**15 else first + 2**16 if not is_signed and first < 0 else first


def _palette(dataset: Dataset, notes: list[str]) -> Table:
    """The red, green and blue tables of PALETTE COLOR (PS3.3 C.7.6.3.1.5); XrayReadError where they cannot be read."""
    try:
        count, first, bits = (int(v) for v in values_of(dataset, "RedPaletteColorLookupTableDescriptor"))
        count = count or 2**16
        if "RedPaletteColorLookupTableData" in dataset:
            columns = [
                _entries(dataset[f"{colour}PaletteColorLookupTableData"].value, count, bits, dataset)
                for colour in ("Red", "Green", "Blue")
            ]
            entries = np.stack(columns, axis=-1)
        else:
            entries = apply_color_lut(np.arange(first, first + count), dataset)[:, :3].astype(np.int64)
        if not entries.size:
            raise ValueError
    except Exception:
        message = "The DICOM palette is missing or damaged; export the film as MONOCHROME2."
    else:
        # The descriptor says 8 or 16; tables that state one and are filled as the other exist in both directions.
        return Table(entries, _signed_first(first, dataset), 8 if entries.max() < 2**8 else 16)
    raise XrayReadError(message)


def _window(dataset: Dataset, notes: list[str]) -> Callable[[np.ndarray], np.ndarray] | None:
    """The first window, by the function that the header names (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    centre, width = real(dataset, "WindowCenter"), real(dataset, "WindowWidth")
    if centre is None or width is None:
        return None
    function = word(dataset, "VOILUTFunction") or "LINEAR"
    if width < (1 if function == "LINEAR" else np.finfo(np.float32).eps):
        notes.append("The header's display window has no width and was left out.")
        return None
    if function == "SIGMOID":
        return lambda values: 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return lambda values: (values - centre) / width + 0.5
    if width == 1:
        return lambda values: (values > centre - 0.5).astype(np.float64)
    return lambda values: (values - (centre - 0.5)) / (width - 1) + 0.5


def _spread(
    stored: Stored, visible: np.ndarray, modality: Callable[[np.ndarray], np.ndarray], notes: list[str]
) -> Callable[[np.ndarray], np.ndarray]:
    """No window in the header: 8-bit images are ready for display, deeper ones run from their darkest to brightest."""
    if stored.bits > 8:
        low, high = int(visible.min()), int(visible.max())
        notes.append("The header has no display window: the darkest value was shown black, the brightest white.")
    else:
        low = -(2 ** (stored.bits - 1)) if stored.values.dtype.kind == "i" else 0
        high = low + 2**stored.bits - 1
    # A table need not rise: its darkest entry may stand anywhere.
    shades = modality(np.arange(low, high + 1) if high - low < 2**16 else np.array([low, high]))
    black, white = shades.min(), shades.max()
    return lambda values: (values - black) / max(white - black, _TINY)
