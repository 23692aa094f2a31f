"""Where the lungs are on a frontal chest film, by a classical fit of two mirrored fields; no trained segmenter.

Two clues are made from the film at 28 x 28: how much darker a place is than its wider surroundings, and how deep it
lies in a dark basin that does not drain to the film's edge (greyscale hole filling by reconstruction, Vincent 1993),
which is true of lungs and not of the air beside the body. A pair of lung-shaped fields is laid over them in some 1,300
places and sizes, scored by normalised cross-correlation plus a mild preference for how chest films are framed, and the
best ones are averaged. The pair is mirrored about its midline, so that one clear lung also places a white one.

Its few numbers were set by eye on training films; no mask, no box and no label was used.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image
from scipy import ndimage
from skimage.morphology import reconstruction

Array = np.ndarray
Box = tuple[float, float, float, float]  # (top, bottom, left, right), fractions of height and width

WHOLE: Box = (0.0, 1.0, 0.0, 1.0)
UNSURE = "The lungs were not found with confidence, so the model was shown the whole film."
GRID = 28  # pixels a side at which the fields are fitted: ribs are gone, lungs are left
MIN_CONFIDENCE = 0.25  # lower, it is a guess; higher, films of dense lungs alone would stay whole, which tells on them
MARGIN = (0.07, 0.12, 0.07)  # above, below and beside the fields, as shares of their height and width
# How chest films are framed: centre row, centre column, height and width of the lungs, and how much each varies.
FRAMING, SPREAD = (0.50, 0.50, 0.66, 0.74), (0.08, 0.05, 0.12, 0.12)
LOWEST = 0.76  # height over width: a flatter pair has lost its white bases
PREFERENCE = 0.03  # correlation that one standard deviation (twice its half square) of unusual framing costs
SHARPNESS = 0.01  # correlation below the best at which a placement's weight in the average has fallen to 1/e


@dataclass(frozen=True)
class LungField:
    """Both lung fields of one film.

    ``fields``: the tight box of the fitted pair, which may reach beyond the film. ``confidence``: correlation of film
    and fields in [-1, 1]. ``box``: ``fields`` with margins, within the film; the whole film unless :attr:`found`.
    """

    fields: Box
    confidence: float

    @property
    def found(self) -> bool:
        return self.confidence >= MIN_CONFIDENCE

    @property
    def box(self) -> Box:
        if not self.found:
            return WHOLE
        top, bottom, left, right = self.fields
        above, below, beside = MARGIN
        grown = (
            top - above * (bottom - top),
            bottom + below * (bottom - top),
            left - beside * (right - left),
            right + beside * (right - left),
        )
        # Thousandths: rounding of the last bits, which differs between machines, must not move a pixel.
        return tuple(round(float(min(max(edge, 0.0), 1.0)), 3) for edge in grown)

    def mask(self, height: int, width: int) -> Array:
        """The fitted pair on a ``height`` x ``width`` film: bool (H, W); all true where no lungs were found."""
        if not self.found:
            return np.ones((height, width), dtype=bool)
        top, bottom, left, right = self.fields
        rows, columns = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
        v = (rows - top) / (bottom - top)
        u = (columns - (left + right) / 2) / ((right - left) / 2)
        return _pair(u[None, :], v[:, None]) > 0.5


def find_lungs(pixels: ArrayLike) -> LungField:
    """The lung fields of a grey film (H, W), uint8 or float in [0, 1], frontal and upright; 0 is black.

    Deterministic; a grey PIL image does as well. Raises ValueError for anything but one grey image.
    """
    pixels = np.asarray(pixels)
    if pixels.ndim != 2 or not pixels.size:
        raise ValueError(f"`pixels` has shape {pixels.shape}; give one grey image (H, W)")
    if pixels.dtype != np.uint8:
        pixels = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    clues = _clues(pixels).ravel()
    atlas = _atlas()
    variance = atlas.windows @ (clues * clues) - (atlas.windows @ clues) ** 2
    correlation = (atlas.patterns @ clues) / np.sqrt(np.maximum(variance, 1e-4))
    score = correlation + atlas.preference
    weight = np.exp((score - score.max()) / SHARPNESS)
    weight /= weight.sum()
    return LungField(tuple(float(edge) for edge in weight @ atlas.boxes), float(weight @ correlation))


def _clues(film: Array) -> Array:
    """float32 (GRID, GRID), low where the film is dark as lungs are: local darkness and depth below the way out."""
    fine = np.asarray(Image.fromarray(film).resize((2 * GRID, 2 * GRID), Image.Resampling.BOX), np.float32)
    low, high = np.percentile(fine, (2, 98))
    fine = np.clip((fine - low) / max(high - low, 1), 0, 1)
    rim = fine.copy()
    rim[1:-1, 1:-1] = 1
    depth = _halved(reconstruction(rim, fine, method="erosion").astype(np.float32) - fine)
    depth = np.minimum(depth, np.percentile(depth, 90))  # bowel gas is deeper than lungs; it must not count for more
    coarse = _halved(fine)
    air = _reaches_edge(coarse < 0.15)
    if not air.all():
        coarse = np.where(air, np.median(coarse[~air]), coarse)
    local = coarse - 0.8 * ndimage.gaussian_filter(coarse, 0.22 * GRID, mode="nearest")
    return (local / (local.std() + 1e-3) - depth / (depth.std() + 1e-3)) / 2


def _halved(image: Array) -> Array:
    return image.reshape(GRID, 2, GRID, 2).mean((1, 3))


def _reaches_edge(dark: Array) -> Array:
    """The parts of a bool mask that touch the film's edge."""
    parts, _ = ndimage.label(dark)
    edge = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    return np.isin(parts, edge[edge > 0])


class _Atlas(NamedTuple):
    """Every placement of the pair that is tried, P of them over G = GRID squared pixels."""

    boxes: Array  # (P, 4)
    patterns: Array  # (P, G): mean 0 and variance 1 under the window, times the window
    windows: Array  # (P, G): the pair and its surroundings, sum 1
    preference: Array  # (P,)


@lru_cache(maxsize=1)
def _atlas() -> _Atlas:
    heights, widths = np.linspace(0.44, 1.0, 8), np.linspace(0.5, 1.0, 7)
    rows, columns = np.linspace(0.34, 0.64, 8), np.linspace(0.41, 0.59, 5)
    tried = np.stack(np.meshgrid(rows, columns, heights, widths, indexing="ij"), axis=-1).reshape(-1, 4)
    shape = tried[:, 2] / tried[:, 3]
    tried = tried[(shape > LOWEST) & (shape < 1.5)].astype(np.float32)
    row, column, height, width = (tried[:, i, None, None] for i in range(4))
    centres = ((np.arange(GRID) + 0.5) / GRID).astype(np.float32)
    v = (centres[None, :, None] - row) / height + 0.5
    u = (centres[None, None, :] - column) / (width / 2)
    pair = _pair(u, v).reshape(len(tried), -1)
    window = (_ramp(1.2 - np.abs(u), 0.1) * _ramp(v + 0.1, 0.1) * _ramp(1.14 - v, 0.1)).reshape(len(tried), -1)
    window /= window.sum(1, keepdims=True)
    centred = (window * pair).sum(1, keepdims=True) - pair  # lungs are dark
    pattern = window * centred / np.sqrt((window * centred**2).sum(1, keepdims=True))
    unusual = (((tried - np.float32(FRAMING)) / np.float32(SPREAD)) ** 2).sum(1)
    row, column, height, width = tried.T
    boxes = np.stack([row - height / 2, row + height / 2, column - width / 2, column + width / 2], axis=1)
    return _Atlas(boxes, pattern.astype(np.float32), window.astype(np.float32), -PREFERENCE / 2 * unusual)


def _pair(u: Array, v: Array) -> Array:
    """Two mirrored lungs in [0, 1]: ``u`` from -1 to 1 between the chest walls, ``v`` from apex (0) to base (1)."""
    out, down = np.abs(u), np.clip(v, 0, 1)
    wall = np.sqrt(1 - (1 - down) ** 2.6)  # the rib cage widens from the apex
    mediastinum = 0.15 + 0.16 * down**2
    dome = 0.86 + 0.5 * np.clip(out - 0.45, -0.3, 0.55) ** 2 + 0.12 * np.clip(out - 0.45, 0, 0.55)
    return _ramp(wall - out, 0.06) * _ramp(out - mediastinum, 0.06) * _ramp(v, 0.08) * _ramp(dome - v, 0.08)


def _ramp(distance: Array, width: float) -> Array:
    """0 below, 1 above zero, linear over ``width`` between."""
    return np.clip(distance / width + 0.5, 0, 1)
