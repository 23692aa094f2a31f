"""The one way from a grey image to a model's input, and back from the model's map to the image.

A :class:`Preprocess` is stored in every checkpoint's config.json; training, evaluation, explanation, serving and export
all call it, so that they cannot drift apart. Its first half ends in 8 bits, which is what a training cache holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from hf_pneumo.imaging.lung_cut import box_of, cut_to_lungs, lungs_of_cut_film, mask_shape
from hf_pneumo.imaging.lungs import UNSURE, WHOLE, Box, LungField, find_lungs
from hf_pneumo.records import record_of

INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
ADAPTIVE, LUNGS = "adaptive", "lungs"
PER_FILM = (ADAPTIVE, LUNGS)  # crops that differ from film to film
FIXED_LUNGS: Box = (0.15, 0.90, 0.20, 0.80)  # the Fordham report's: rows 15-90 %, columns 20-80 %
CROPS: dict[str, Box | str | None] = {
    "none": None,
    "lung": FIXED_LUNGS,
    ADAPTIVE: ADAPTIVE,
    LUNGS: LUNGS,
}


class Crop(NamedTuple):
    """The part of one film that the model is shown: a box in fractions, and a sentence where no lungs were found.

    ``lungs``: bool (h, w) over all of the film, where nothing but them is shown; else None.
    """

    box: Box = WHOLE
    note: str = ""
    lungs: np.ndarray | None = None


@dataclass(frozen=True)
class Preprocess:
    """Crop, 8-bit quantisation, resize to ``size`` (squashed, antialiased), scaling to [0, 1], normalisation.

    ``size``: (height, width) of the model's input in pixels. ``crop``: None, (top, bottom, left, right) as fractions of
    height and width in [0, 1], or "adaptive": the lungs of each film by `lungs.find_lungs`. "lungs" shows nothing else:
    their tight box with a small margin, 0 outside them, and the grey values standardised inside them, film by film
    (mean 0 and standard deviation 1, so that what is outside has the lungs' mean). A film that is already cut to its
    lungs is taken as it is. ``mean`` and ``std``: per channel, on the [0, 1] scale, after that. Grey is repeated over
    three channels, as pretrained backbones expect. ``mirror``: an answer is the mean over film and mirror image.
    """

    size: tuple[int, int] = (224, 224)
    crop: Box | str | None = None
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    mirror: bool = False

    def __post_init__(self):
        if min(self.size) < 1:
            raise ValueError(f"`size` is {self.size}; give (height, width) of at least 1 pixel")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"`interpolation` is {self.interpolation!r}; choose one of {', '.join(INTERPOLATIONS)}")
        if min(self.std) <= 0:
            raise ValueError(f"`std` is {self.std}; every value must be above 0")
        if isinstance(self.crop, str):
            if not self.goes_by_lungs:
                raise ValueError(f"`crop` is {self.crop!r}; give {' or '.join(PER_FILM)}, four fractions, or None")
        elif self.crop is not None:
            top, bottom, left, right = self.crop
            if not (0 <= top < bottom <= 1 and 0 <= left < right <= 1):
                raise ValueError(f"`crop` is {self.crop}; give (top, bottom, left, right) with 0 <= top < bottom <= 1")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocess:
        """Inverse of :meth:`to_dict`; an unknown key is a ValueError that names the known ones."""
        known = {f.name for f in fields(cls)}
        if unknown := set(values) - known:
            raise ValueError(f"`preprocess` has unknown keys {sorted(unknown)}; known are {sorted(known)}")
        return record_of(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict of all fields."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @property
    def goes_by_lungs(self) -> bool:
        """Whether each film's crop is its own, by its lungs."""
        return self.crop in PER_FILM

    def crop_of(self, pixels: np.ndarray, lungs: LungField | None = None) -> Crop:
        """The crop of the film ``pixels`` (H, W): the same for every film unless :attr:`crop` goes by its lungs.

        ``lungs``: the film's, where they have been looked for already.
        """
        if not isinstance(self.crop, str):
            return Crop(self.crop or WHOLE)
        if self.crop == LUNGS:
            return _lungs_alone(_to_8_bits(pixels), lungs)
        lungs = lungs or find_lungs(pixels)
        return Crop(lungs.box, "" if lungs.found else UNSURE)

    def box_in(self, height: int, width: int, crop: Crop | None = None) -> tuple[int, int, int, int]:
        """``crop`` in a ``height`` x ``width`` image: (top, bottom, left, right) in whole pixels, at least 1 x 1.

        Without ``crop`` it is the one that all films share; ValueError where each film has its own.
        """
        if crop is None:
            if isinstance(self.crop, str):
                raise ValueError("`crop` is None, but each film has its own; give the film's, from crop_of(pixels)")
            crop = Crop(self.crop or WHOLE)
        top, bottom, left, right = crop.box
        y0, x0 = round(top * height), round(left * width)
        return y0, max(round(bottom * height), y0 + 1), x0, max(round(right * width), x0 + 1)

    def to_gray(self, pixels: np.ndarray, crop: Crop | None = None) -> np.ndarray:
        """Grey image (H, W), uint8 or float in [0, 1], to uint8 ``size``: crop, 8 bits, resize, in this order.

        ``crop``: the film's, where :meth:`crop_of` has been asked already.
        """
        if pixels.ndim != 2:
            raise ValueError(f"`pixels` has shape {pixels.shape}; give one grey image (H, W)")
        pixels = _to_8_bits(pixels)
        crop = crop or self.crop_of(pixels)
        if crop.lungs is not None:
            return cut_to_lungs(pixels, crop.lungs, crop.box, self.size, INTERPOLATIONS[self.interpolation])
        height, width = pixels.shape
        y0, y1, x0, x1 = self.box_in(height, width, crop)
        image = Image.fromarray(np.ascontiguousarray(pixels[y0:y1, x0:x1]))
        if image.size != self.size[::-1]:
            image = image.resize(self.size[::-1], INTERPOLATIONS[self.interpolation])
        return np.array(image)

    def to_original(self, heatmap: ArrayLike, shape: tuple[int, int], crop: Crop | None = None) -> np.ndarray:
        """A map (h', w') over the model's input to float32 (H, W) over the whole image; zero outside the crop.

        ``crop``: the film's, from :meth:`crop_of`; may be left out where all films share one.
        """
        y0, y1, x0, x1 = self.box_in(*shape, crop)
        inner = np.asarray(heatmap, dtype=np.float32)
        out = np.zeros(shape, dtype=np.float32)
        out[y0:y1, x0:x1] = _interpolated(_interpolated(inner, y1 - y0).T, x1 - x0).T
        return out


def _interpolated(cells: np.ndarray, pixels: int) -> np.ndarray:
    """Rows of cells (r, c) to ``pixels`` rows, linearly between the centres of cells and constant beyond them.

    Each is a mean of two rows. As a product of matrices that would wake the threads of BLAS, which then spin beside
    those of the network and double what a film costs.
    """
    place = ((np.arange(pixels) + 0.5) * len(cells) / pixels - 0.5).clip(0, len(cells) - 1)
    above = place.astype(np.intp)
    below = np.minimum(above + 1, len(cells) - 1)
    share = (place - above).astype(np.float32)[:, None]
    return cells[above] + share * (cells[below] - cells[above])


def _to_8_bits(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.dtype == np.uint8 else np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def _lungs_alone(pixels: np.ndarray, lungs: LungField | None) -> Crop:
    """The lungs of a whole film uint8 (H, W), or of one that is cut to them; all of it where they are not found."""
    mask = lungs_of_cut_film(pixels)
    if mask is None:
        lungs, shape = lungs or find_lungs(pixels), mask_shape(*pixels.shape)
        mask = lungs.mask(*shape) if lungs.found else np.zeros(shape, dtype=bool)
        if not mask.any():
            return Crop(WHOLE, UNSURE, np.ones(shape, dtype=bool))
    return Crop(box_of(mask), "", mask)
