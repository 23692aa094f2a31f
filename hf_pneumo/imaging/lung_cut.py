"""A film cut to its lungs: grey inside them, exactly 0 outside, in 8 bits; and films that come already cut.

Outside the lungs there is nothing that a network of lungs should look at: no letters, no tubes' ends, no hospital. The
value 0 is kept for it, so that one array of 8 bits holds the film and its mask, and whoever normalises it later (see
`Preprocess.to_tensor`) knows both.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from hf_pneumo.imaging.lungs import Box

Array = np.ndarray
MARGIN = 0.03  # around the lungs' tight box, as a share of its sides
BLACK = 10  # grey up to which a pixel of a cut film counts as nothing: JPEG's ringing beside the lungs
SMALLEST = 0.01  # share of the picture below which a part of a cut film is a speck
EMPTY, FRAMED = 0.5, 0.9  # a cut film's least shares of black pixels: over all, and along its border
FINER = 2  # the cut is made on a grid so many times finer than the model's input
MASK_SIDE = 448  # pixels of a film's longer side at which its lungs are drawn


def lungs_of_cut_film(pixels: Array) -> Array | None:
    """The lungs, bool (H, W), of a film ``pixels`` uint8 (H, W) that was already cut to them; None for a whole film.

    A cut film is black along nearly all of its border and on most of its area, as no whole film is. Holes are filled,
    specks left out, and the outermost pixel, half of which is not lung, is taken off.
    """
    black = pixels <= BLACK
    border = np.concatenate([black[0], black[-1], black[:, 0], black[:, -1]])
    if border.mean() < FRAMED or black.mean() < EMPTY:
        return None
    filled = ndimage.binary_fill_holes(ndimage.binary_opening(~black))
    parts, count = ndimage.label(filled)
    sizes = ndimage.sum_labels(filled, parts, range(1, count + 1))
    large = 1 + np.flatnonzero(sizes >= SMALLEST * filled.size)
    mask = ndimage.binary_erosion(np.isin(parts, large))
    return mask if mask.any() else None


def mask_shape(height: int, width: int) -> tuple[int, int]:
    """The size at which the lungs of a ``height`` x ``width`` film are drawn: its own, at most 448 pixels a side."""
    scale = min(1.0, MASK_SIDE / max(height, width))
    return max(1, round(scale * height)), max(1, round(scale * width))


def box_of(mask: Array, margin: float = MARGIN) -> Box:
    """The tight box of a mask bool (h, w), grown by ``margin`` of its sides, in fractions of the film and within it."""
    return *_extent(mask, 1, margin), *_extent(mask, 0, margin)


def _extent(mask: Array, over: int, margin: float) -> tuple[float, float]:
    """From the first to the last row (``over`` 1) or column (0) of a mask, grown by ``margin``, in fractions."""
    places, side = np.flatnonzero(mask.any(over)), mask.shape[1 - over]
    low, high = places[0] / side, (places[-1] + 1) / side
    grown = margin * (high - low)
    return round(float(max(low - grown, 0.0)), 4), round(float(min(high + grown, 1.0)), 4)


def cut_to_lungs(pixels: Array, mask: Array, box: Box, size: tuple[int, int], resampling: Image.Resampling) -> Array:
    """The part ``box`` of ``pixels`` uint8 (H, W) at ``size`` (h, w): uint8, 1 to 255 in the lungs, 0 outside.

    ``mask`` bool (h', w') is drawn over all of the film. Every pixel is the mean of what is lung in it, so that what
    lies beside the lungs, tissue or the black of a cut film, does not enter.
    """
    fine = (FINER * size[0], FINER * size[1])
    gray = _part(pixels, box, fine, resampling).astype(np.float32)
    inside = _part(mask.astype(np.uint8) * 255, box, fine, Image.Resampling.BILINEAR) > 127
    share = _mean_of_cells(inside.astype(np.float32))
    lung = _mean_of_cells(gray * inside) / np.maximum(share, 1e-6)
    return np.where(share >= 0.5, np.clip(np.rint(lung), 1, 255), 0).astype(np.uint8)


def _part(image: Array, box: Box, size: tuple[int, int], resampling: Image.Resampling) -> Array:
    height, width = image.shape
    top, bottom, left, right = box
    edges = (left * width, top * height, right * width, bottom * height)
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(size[::-1], resampling, box=edges))


def _mean_of_cells(image: Array) -> Array:
    """Mean over cells of FINER x FINER pixels."""
    height, width = (side // FINER for side in image.shape)
    return image.reshape(height, FINER, width, FINER).mean((1, 3))
