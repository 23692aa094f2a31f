"""An exported checkpoint, run by ONNX Runtime alone: no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from hf_pneumo.models.config import CheckpointConfig
from hf_pneumo.models.map_recipe import MapRecipe

FULL, HALF, QUANTIZED = "fp32", "fp16", "int8"
# Where transformers.js, Optimum and the Hub's own viewer look for a graph.
_FILES = {FULL: "model.onnx", HALF: "model_fp16.onnx", QUANTIZED: "model_quantized.onnx"}
PRECISIONS = tuple(_FILES)
LIGHT = "graph.onnx"  # in a checkpoint's folder: the graph that has its weights in model.safetensors beside it
METADATA = "hf_pneumo"  # key of the checkpoint's block in the graph's metadata


def graph_path(folder: str | Path, precision: str = FULL) -> Path:
    """Where a checkpoint's folder holds its graph of a precision: "fp32", "fp16" or "int8"."""
    if precision not in _FILES:
        raise ValueError(f"`precision` is {precision!r}; choose one of {', '.join(PRECISIONS)}")
    return Path(folder) / "onnx" / _FILES[precision]


def said_of(config: CheckpointConfig) -> dict[str, Any]:
    """What a config says of the computation in a graph, JSON-ready."""
    said = {
        "preprocess": config.preprocess.to_dict(),
        "recipe": config.recipe.to_dict(),
        "labels": list(config.labels.names),
        "model_args": dict(config.model_args),
    }
    return json.loads(json.dumps(said))


@dataclass(frozen=True, eq=False)
class Answer:
    """Of N films: logits and calibrated probabilities float32 (N, K), heatmaps float32 (N, h, w) in [0, 1] or None."""

    logits: np.ndarray
    probability: np.ndarray
    heatmap: np.ndarray | None


class Graph:
    """A session of one exported graph; may be shared by threads.

    ``threads``: of one forward pass. An archive is better scored by several processes of one thread each.
    """

    def __init__(self, path: str | Path, *, threads: int = 1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # no warnings: that an input has a default is meant so; errors are raised
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    @cached_property
    def about(self) -> Mapping[str, Any]:
        """The checkpoint's block of config.json, its name and its revision."""
        return json.loads(self._session.get_modelmeta().custom_metadata_map[METADATA])

    @cached_property
    def recipe(self) -> MapRecipe:
        """How the graph makes maps."""
        return MapRecipe.from_dict(self.about["recipe"])

    @property
    def layer(self) -> str:
        """The layer that the map is read at."""
        return self.about["layer"]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of that layer's map, at the first of the sizes."""
        return tuple(self.about["grid"])

    @cached_property
    def takes_fine(self) -> bool:
        """Whether the map is made of finer films than the answer."""
        return any(given.name == "fine" for given in self._session.get_overridable_initializers())

    def run(
        self,
        gray: np.ndarray,
        target: Sequence[Sequence[float]] | Sequence[float] | np.ndarray | None = None,
        *,
        fine: np.ndarray | None = None,
        maps: bool = True,
    ) -> Answer:
        """Films uint8 or float32 (N, h, w), grey 0 to 255 at the model's size, as `Preprocess.to_gray` makes them.

        ``target``: weights (K,) or (N, K) over the logits; None explains what the checkpoint is for. ``fine``: the same
        films (N, H, W) as the map needs them (see `MapRecipe.preprocess`); a graph whose map is of the model's size
        takes no notice. ``maps`` False leaves the heatmaps out, and their cost.
        """
        feed = {"image": np.asarray(gray, dtype=np.float32)[:, None]}
        if not maps:
            if self.takes_fine:
                feed["target"] = np.zeros((0, len(self.about["labels"])), dtype=np.float32)
            logits, probability = self._session.run(["logits", "probability"], feed)
            return Answer(logits, probability, None)
        if target is not None:
            feed["target"] = np.atleast_2d(np.asarray(target, dtype=np.float32))
        if fine is not None and self.takes_fine:
            feed["fine"] = np.asarray(fine, dtype=np.float32)[:, None]
        logits, probability, heatmap = self._session.run(["logits", "probability", "heatmap"], feed)
        return Answer(logits, probability, heatmap)
