"""A checkpoint's answers by torch: every method, layer and refinement of `explain`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from hf_pneumo.explain import Explanation, explain
from hf_pneumo.explain.target import OneTarget
from hf_pneumo.models.checkpoint import Checkpoint
from hf_pneumo.models.inference import answer
from hf_pneumo.models.map_recipe import MapRecipe
from hf_pneumo.models.tensors import to_tensor
from hf_pneumo.serving.engine import Shown, stacked


class TorchEngine:
    """See `engine.Engine`. ``device``: where the network computes."""

    def __init__(self, checkpoint: Checkpoint, device: str | torch.device = "cpu"):
        self.preprocess, self.device = checkpoint.config.preprocess, device
        self.network = checkpoint.network.to(device).eval()

    def logits(self, films: Sequence[Shown]) -> np.ndarray:
        """Logits float32 (B, K); where the checkpoint says so, the mean over each film and its mirror image."""
        x = to_tensor(self.preprocess, stacked(films, self.preprocess, self.preprocess)).to(self.device)
        with torch.inference_mode():
            return answer(self.network, x, mirror=self.preprocess.mirror).cpu().numpy()

    def explained(
        self, films: Sequence[Shown], targets: list[OneTarget], recipe: MapRecipe, options: Mapping[str, Any]
    ) -> tuple[np.ndarray, list[Explanation]]:
        """See `engine.Engine`; logits are those of the map's pass, where that is the pass that answers."""
        preprocess = recipe.preprocess(self.preprocess)
        x = to_tensor(preprocess, stacked(films, self.preprocess, preprocess)).to(self.device)  # (B, 3, h, w)
        found = explain(self.network, x, method=recipe.method, target=targets, **{**recipe.options, **options})
        if preprocess == self.preprocess and not preprocess.mirror:
            return np.stack([explanation.logits for explanation in found]), found
        return self.logits(films), found
