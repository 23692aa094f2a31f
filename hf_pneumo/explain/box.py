"""Boxes around what a heatmap shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

SIDE = 512  # pixels a side at which regions are looked for
_EIGHT = np.ones((3, 3), dtype=bool)  # diagonal neighbours belong together


@dataclass(frozen=True)
class Box:
    """A rectangle in the heatmap's pixels: left x, top y, width w, height h; `score` is the mean heat of its region."""

    x: int
    y: int
    w: int
    h: int
    score: float


def otsu(heatmap: np.ndarray, bins: int = 256) -> float:
    """The threshold that splits a heatmap in [0, 1] into the two classes of least variance (Otsu 1979)."""
    counts, edges = np.histogram(heatmap, bins=bins, range=(0.0, 1.0))
    centres = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts)[:-1], np.cumsum(counts[::-1])[::-1][1:]
    weighted = np.cumsum(counts * centres)
    mean_below = weighted[:-1] / np.maximum(below, 1)
    mean_above = (weighted[-1] - weighted[:-1]) / np.maximum(above, 1)
    between = below.astype(float) * above * (mean_below - mean_above) ** 2
    # An empty valley gives a plateau of equally good cuts: its middle is the threshold.
    return float(edges[1:-1][between >= between.max() * (1 - 1e-9)].mean())


def boxes(
    heatmap: np.ndarray,
    *,
    threshold: float | str = 0.5,
    min_area: float = 0.005,
    max_boxes: int | None = None,
    positive: bool = True,
) -> list[Box]:
    """Bounding boxes of the connected regions of a heatmap (H, W) in [0, 1] at or above a threshold, best first.

    threshold: a share of the map's maximum in (0, 1], for instance one tuned on a labelled set, or "otsu".
    min_area: regions smaller than this share of the image are left out. max_boxes: keep at most so many.
    positive: False, for a film judged normal, gives no boxes. A map of zeros gives none either.
    Maps of more than 512 pixels a side are looked at every few pixels, for a heatmap has no detail of that size; then
    the edges of boxes lie on those pixels.
    """
    whole = np.asarray(heatmap, dtype=np.float32)
    if whole.ndim != 2:
        raise ValueError(f"`heatmap` has shape {whole.shape}; give one map (H, W).")
    if isinstance(threshold, str) and threshold != "otsu" or not isinstance(threshold, str) and not 0 < threshold <= 1:
        raise ValueError(f"`threshold` is {threshold!r}; give a share of the maximum in (0, 1] or 'otsu'.")
    step = -(-max(whole.shape) // SIDE) if whole.size else 1
    heatmap = whole[::step, ::step]
    peak = float(heatmap.max(initial=0.0))
    if not positive or peak <= 0:
        return []
    relative = heatmap / peak
    cut = otsu(relative) if threshold == "otsu" else float(threshold)
    regions, count = ndimage.label(relative >= cut, structure=_EIGHT)
    areas = np.bincount(regions.ravel(), minlength=count + 1)
    found = []
    for index, (rows, columns) in enumerate(ndimage.find_objects(regions), start=1):
        if areas[index] < min_area * heatmap.size:
            continue
        score = float(heatmap[rows, columns][regions[rows, columns] == index].mean())
        left, top = step * columns.start, step * rows.start
        right, bottom = min(step * columns.stop, whole.shape[1]), min(step * rows.stop, whole.shape[0])
        found.append(Box(left, top, right - left, bottom - top, score))
    found.sort(key=lambda box: (-box.score, box.y, box.x))
    return found[:max_boxes]
