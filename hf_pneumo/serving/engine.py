"""What answers: films as a model needs them in, logits and explanations out, whichever runtime computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hf_pneumo.explain.explanation import Explanation
from hf_pneumo.explain.target import OneTarget
from hf_pneumo.imaging.preprocess import Crop, Preprocess
from hf_pneumo.models.map_recipe import MapRecipe


@dataclass(frozen=True, eq=False)
class Shown:
    """One film as it is shown to a model: pixels uint8 (H, W), the crop, and that at the model's size (h, w)."""

    pixels: np.ndarray
    crop: Crop
    gray: np.ndarray


class Engine(Protocol):
    """A checkpoint's answers; may be shared by threads."""

    def logits(self, films: Sequence[Shown]) -> np.ndarray:
        """Logits float32 (B, K)."""

    def explained(
        self, films: Sequence[Shown], targets: list[OneTarget], recipe: MapRecipe, options: Mapping[str, Any]
    ) -> tuple[np.ndarray, list[Explanation]]:
        """Logits float32 (B, K), and why each film got its own, over the model's input.

        ``recipe`` says how; what it says of target and lungs is the caller's. ``options`` are the method's own, and
        "progress". Raises ValueError or TypeError for what cannot be done.
        """


def stacked(films: Sequence[Shown], plain: Preprocess, wanted: Preprocess) -> np.ndarray:
    """The films uint8 (B, h, w) as ``wanted`` prepares them; they are there already as ``plain`` does."""
    if wanted == plain:
        return np.stack([film.gray for film in films])
    return np.stack([wanted.to_gray(film.pixels, film.crop) for film in films])
