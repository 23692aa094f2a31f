"""Ordinary image files (everything but DICOM) to one grey image, at their full bit depth."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from hf_pneumo.imaging.xray import Limits, Xray, XrayReadError

# The classes themselves: `Image.open` would try every plugin and warn about sizes by a process-wide limit.
_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "TIFF": TiffImageFile,
    "WebP": WebPImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
    "JPEG 2000": Jpeg2KImageFile,
}

_ORIENTATION_TAG = 0x0112
_TIFF_BITS_TAG, _TIFF_PHOTOMETRIC_TAG = 258, 262
_DEPTHS = (8, 10, 12, 14, 16, 24, 32)
_MOST_PAGES = 64  # counting further would let a small file with a million pages stall the reader

# A pixel is coloured when its channels lie further apart than JPEG makes them in a grey film.
_COLOUR_SPREAD = 24
_COLOUR_SHARE = 0.02
_IN_COLOUR = "The picture is in colour: a photograph or a marked screenshot is not a film."


def decode_raster(content: bytes, kind: str, limits: Limits) -> Xray:
    """Decode `content`, whose format `sniff` has named.

    Raises XrayReadError for sizes over the limits; damage surfaces as whatever the decoder raises.
    """
    with _PLUGINS[kind](BytesIO(content)) as image:
        limits.check_size(*image.size)
        notes = _page_notes(image, kind)
        image.load()
        bits = _stored_bits(image, kind, content)
        pixels, remarks = _grey(image, bits)
        pixels = _upright(pixels, image)
    pixels = np.ascontiguousarray(pixels, np.float32)
    return Xray(pixels, kind, bits, (*notes, *remarks), coloured=_IN_COLOUR in remarks)


def _page_notes(image: ImageFile.ImageFile, kind: str) -> list[str]:
    if kind == "TIFF":
        pages = 1
        try:
            while pages < _MOST_PAGES:
                image.seek(pages)
                pages += 1
        except EOFError:
            pass
        except Exception as error:  # a broken link to a later page does not spoil the first
            if isinstance(error, MemoryError):
                raise
        image.seek(0)
        count = str(pages) if pages < _MOST_PAGES else f"{_MOST_PAGES} or more"
        return [f"Only the first of {count} pages was read."] if pages > 1 else []
    if getattr(image, "is_animated", False):
        return ["The file holds several pictures; only the first was read."]
    return []


def _stored_bits(image: ImageFile.ImageFile, kind: str, content: bytes) -> int:
    """Bits per sample in the file, which Pillow's mode does not always tell."""
    if kind == "PNG":
        return content[24]  # bit depth in IHDR, always the first chunk
    if kind == "TIFF":
        return int(image.tag_v2.get(_TIFF_BITS_TAG, (1,))[0])
    return {"1": 1, "I": 32, "F": 32}.get(image.mode, 16 if image.mode.startswith("I;16") else 8)


def _grey(image: ImageFile.ImageFile, bits: int) -> tuple[np.ndarray, list[str]]:
    """float32 (H, W) in [0, 1] from any of Pillow's modes, and what was noticed on the way."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        pixels, notes = _scale_floats(values) if image.mode == "F" else _scale_integers(values, bits)
        tags = getattr(image, "tag_v2", {})
        # Pillow turns "white is zero" round for 8 bits and fewer only.
        return (1 - pixels if tags.get(_TIFF_PHOTOMETRIC_TAG) == 0 else pixels), notes
    notes = []
    if image.has_transparency_data:
        film, hidden = _over_black(image)
        notes += ["Transparent parts were laid over black."] if hidden else []
    else:
        film = image if image.mode in ("1", "L") else image.convert("RGB")
    if film.mode == "RGB" and is_coloured(np.asarray(film)):
        notes.append(_IN_COLOUR)
    if bits == 16:
        notes.append("16-bit colour was read with 8 bits.")
    # Pillow's luma of equal channels is exactly that value.
    return np.asarray(film.convert("L"), np.float32) / np.float32(255), notes


def _over_black(image: Image.Image) -> tuple[Image.Image, bool]:
    layered = image.convert("RGBA")
    hidden = layered.getchannel("A").getextrema()[0] < 255
    black = Image.new("RGBA", layered.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, layered).convert("RGB"), hidden


def is_coloured(channels: np.ndarray) -> bool:
    """Whether an 8-bit (H, W, 3) image has more colour than JPEG leaves in a grey film."""
    step = max(1, int(np.sqrt(channels.shape[0] * channels.shape[1] / 250_000)))  # a sample is enough
    spread = np.ptp(channels[::step, ::step].astype(np.int16), axis=-1)
    return float(np.mean(spread > _COLOUR_SPREAD)) > _COLOUR_SHARE


def _scale_integers(values: np.ndarray, bits: int) -> tuple[np.ndarray, list[str]]:
    """Divide by the largest value of the stored depth, or of the smallest depth that holds every value."""
    low, high = int(values.min()), int(values.max())
    if low < 0:
        note = f"The values run from {low} to {high}; this range was spread from black to white."
        span = max(high - low, 1)
        return ((values.astype(np.float64) - low) / span).astype(np.float32), [note]
    depth = next(d for d in _DEPTHS if high < 2**d)
    pixels = (values / (2.0**depth - 1)).astype(np.float32)
    if depth >= bits:
        return pixels, []
    note = f"The file stores {bits} bits but its largest value is {high}: it was read as a {depth}-bit image."
    return pixels, [note]


def _scale_floats(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    notes = []
    finite = np.isfinite(values)
    if not finite.any():
        raise XrayReadError("The image holds no finite value; export it again.")
    if not finite.all():
        notes.append("Values that are not numbers were shown black.")
        values = np.where(finite, values, values[finite].min())
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1:
        return values.astype(np.float32), notes
    notes.append(f"The values run from {low:g} to {high:g}; this range was spread from black to white.")
    span = max(high - low, float(np.finfo(np.float32).tiny))
    return ((values.astype(np.float64) - low) / span).astype(np.float32), notes


def _upright(pixels: np.ndarray, image: ImageFile.ImageFile) -> np.ndarray:
    """Apply the EXIF orientation, which Pillow has already applied and removed for TIFF."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception as error:  # Pillow's EXIF parser raises many kinds; a broken EXIF block leaves the film as it is
        if isinstance(error, MemoryError):
            raise
        orientation = 1
    turned = {
        2: lambda: pixels[:, ::-1],
        3: lambda: pixels[::-1, ::-1],
        4: lambda: pixels[::-1],
        5: lambda: pixels.T,
        6: lambda: np.rot90(pixels, -1),
        7: lambda: pixels[::-1, ::-1].T,
        8: lambda: np.rot90(pixels, 1),
    }
    return turned[orientation]() if orientation in turned else pixels
