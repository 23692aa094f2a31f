"""What an explanation is, and why there may be none; no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Offset = tuple[float, float]  # pixels (down, right) from the middle of a cell's even share to where it looks
EVEN: Offset = (0.0, 0.0)
FLAT = 1e-5  # a map whose range is below this share of its largest magnitude is constant: float32 noise of the network


class ZeroGradientError(ValueError):
    """The score does not depend on the layer's maps at all."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why one image got its logit: the evidence map for one target.

    heatmap: float32 (H, W) in [0, 1], in the geometry of the image that the network was given; all zeros when
    `constant`.
    grid: float32 (gh, gw), the method's raw map before scaling (after its ReLU, where the method has one).
    method, layer: names; layer is "" for methods that look at no layer.
    target: what is explained, as text: a label, an index, "not LABEL", or "A - B" for a contrast.
    constant: the map has no contrast (for instance no positive evidence at all) and says nothing about place.
    logits: float32 (number of logits,), of the very forward pass that the map was computed from.
    convergence_delta: attributions' sum minus the score's change, where the method has such a check, else None.
    smoothing, within_lungs: how the heatmap was refined: over which views it is a mean, and whether it was held to the
    film's lungs (see `within_lungs`).
    """

    heatmap: np.ndarray
    grid: np.ndarray
    method: str
    layer: str
    target: str
    constant: bool
    logits: np.ndarray
    convergence_delta: float | None = None
    smoothing: str = "none"
    within_lungs: bool = False
