"""A heatmap held to the anatomy: what lies outside the lungs is no evidence of a lung's disease."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

REACH = 1 / 14  # of the map's longer side: half a cell of the usual 7 x 7 grid, so much a map may err in place


def within_lungs(heatmap: np.ndarray, lungs: np.ndarray, *, reach: float = REACH) -> np.ndarray:
    """A heatmap (H, W) in [0, 1] times the lung fields (h, w) bool, softly dilated; float32, its maximum 1 again.

    ``lungs``: of the same film, all of it, as `imaging.lungs.find_lungs(film).mask(h, w)` gives them, in the map's
    pixels or fewer; all true, as where no lungs were found, changes nothing. The weight is 1 in the fields and falls
    linearly to 0 at ``reach`` (a share of the longer side) outside. A map without heat near the lungs comes back as
    zeros. Raises ValueError for other shapes, empty lungs or a `reach` that is not positive.
    """
    heatmap, lungs = np.asarray(heatmap, dtype=np.float32), np.asarray(lungs, dtype=bool)
    if heatmap.ndim != 2 or lungs.ndim != 2:
        raise ValueError(f"`heatmap` {heatmap.shape} and `lungs` {lungs.shape} must be one film's, both (H, W).")
    if not lungs.any():
        raise ValueError("`lungs` is false everywhere; give all true where the lungs are not known.")
    if not reach > 0:
        raise ValueError(f"`reach` is {reach}; give a positive share of the longer side.")
    outside = ndimage.distance_transform_edt(~lungs)  # pixels
    weight = np.clip(1 - outside / (reach * max(lungs.shape)), 0, 1).astype(np.float32)
    if weight.shape != heatmap.shape:
        weight = np.asarray(Image.fromarray(weight).resize(heatmap.shape[::-1], Image.Resampling.BILINEAR))
    kept = heatmap * weight
    top = kept.max()
    return kept / top if top > 0 else kept
