"""A checkpoint's answers by its exported graph: the one way to maps that the checkpoint was measured with; no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from hf_pneumo.explain.explanation import Explanation
from hf_pneumo.explain.target import OneTarget, weigh
from hf_pneumo.models.config import CheckpointConfig
from hf_pneumo.models.map_recipe import MapRecipe
from hf_pneumo.serving.engine import Shown, stacked
from hf_pneumo.serving.graph import Graph


class GraphEngine:
    """See `engine.Engine`. ``config``: of the checkpoint that ``graph`` was exported from."""

    def __init__(self, graph: Graph, config: CheckpointConfig):
        self.graph, self.config, self.way = graph, config, config.recipe.way()

    def makes(self, recipe: MapRecipe, options: Mapping[str, Any]) -> bool:
        """Whether the graph makes maps in this way."""
        return recipe.way() == self.way and not set(options) - {"progress"}

    def logits(self, films: Sequence[Shown]) -> np.ndarray:
        """Logits float32 (B, K)."""
        plain = self.config.preprocess
        return self.graph.run(stacked(films, plain, plain), maps=False).logits

    def explained(
        self, films: Sequence[Shown], targets: list[OneTarget], recipe: MapRecipe, options: Mapping[str, Any]
    ) -> tuple[np.ndarray, list[Explanation]]:
        """See `engine.Engine`; the recipe must be one that the graph :meth:`makes`."""
        plain, names = self.config.preprocess, self.config.labels.names
        fine = stacked(films, plain, recipe.preprocess(plain)) if self.graph.takes_fine else None
        rows, words = weigh(targets, np.zeros((len(films), len(names))), names)
        found = self.graph.run(stacked(films, plain, plain), rows, fine=fine)
        assert found.heatmap is not None  # maps were asked for
        if not np.isfinite(found.heatmap).all():
            raise ValueError(f"The map at layer {self.graph.layer!r} is not finite; check the weights for NaN.")
        if progress := options.get("progress"):
            progress(1.0)
        maps = zip(found.logits, found.heatmap, words, strict=True)
        return found.logits, [self._explanation(*own) for own in maps]

    def _explanation(self, logits: np.ndarray, heatmap: np.ndarray, target: str) -> Explanation:
        rows, columns = self.graph.grid
        grid = np.asarray(Image.fromarray(heatmap).resize((columns, rows), Image.Resampling.BOX))
        return Explanation(
            heatmap, grid, self.way.method, self.graph.layer, target, not heatmap.any(), logits,
            smoothing=self.way.smoothing,
        )  # fmt: skip
