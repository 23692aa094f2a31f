"""Whether a checkpoint's heatmaps show what its network uses, on films of which no truth need be known: two tables."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from hf_pneumo.evaluation.bootstrap import RESAMPLES, mean_estimate, patient_weights
from hf_pneumo.evaluation.estimate import Estimate
from hf_pneumo.evaluation.explanations.evaluate_localization import default_target, reading_options
from hf_pneumo.evaluation.explanations.faithfulness import Score, agreement, measure_faithfulness
from hf_pneumo.evaluation.explanations.sanity_checks import MOST, RandomisedLevel, passes, randomisation
from hf_pneumo.explain import explain
from hf_pneumo.models.checkpoint import Checkpoint
from hf_pneumo.records import JsonRecord

logger = logging.getLogger(__name__)

FIGURES = {
    "deletion": "deletion (low)",
    "insertion": "insertion (high)",
    "road": "ROAD (high)",
    "drop": "average drop (low)",
    "increase": "increase (high)",
    "border_share": "heat on the border",
}
# Slow methods with fewer samples than an explanation would take: enough to tell a trained network from a random one.
FEWER: Mapping[str, Mapping[str, Any]] = {"scorecam": {"channels": 32}, "lime": {"samples": 128}}
Progress = Callable[[str], None]


@dataclass(frozen=True)
class SanityReport(JsonRecord):
    """The sanity check of one method: similarity of maps at each depth of randomisation, and whether it passes."""

    films: int
    passes: bool
    levels: tuple[RandomisedLevel, ...] = ()
    most: float = MOST


@dataclass(frozen=True, kw_only=True)
class FaithfulnessReport(JsonRecord):
    """One results file: `FIGURES` by method, agreement between methods, and their sanity checks, as far as measured."""

    checkpoint: str | None = None
    revision: str | None = None
    images: str | None = None
    digests: tuple[str, ...] | None = None
    films: int | None = None
    faithfulness: dict[str, dict[str, Estimate]] | None = None
    agreement: dict[str, dict[str, float]] | None = None
    randomisation: dict[str, SanityReport] | None = None


def score_of(checkpoint: Checkpoint) -> Score:
    """The calibrated probability of the checkpoint's first score, as a function of preprocessed films."""
    config = checkpoint.config

    def score(images: torch.Tensor) -> torch.Tensor:
        shown = images.contiguous(memory_format=torch.channels_last)  # half the time on a CPU's convolutions
        logits = checkpoint.network(shown).float().cpu().numpy()
        return torch.from_numpy(config.labels.scores(logits, config.operating_point.temperature)[:, 0])

    return score


def maps_of(
    checkpoint: Checkpoint, network: nn.Module, images: torch.Tensor, method: str, **options: Any
) -> np.ndarray:
    """Heatmaps (N, h, w) for the checkpoint's finding, of its network or another with the same layers."""
    options |= reading_options(checkpoint.config, method)
    target = default_target(checkpoint.config.labels)
    found = explain(network, images, method=method, target=target, batch_size=8, **options)
    return np.stack([one.heatmap for one in found])


def report_faithfulness(
    checkpoint: Checkpoint,
    images: torch.Tensor,
    names: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    progress: Progress | None = None,
) -> FaithfulnessReport:
    """`FIGURES` of each method on films (N, 3, h, w), with 95 % intervals by film, and the methods' agreement."""
    score, films = score_of(checkpoint), len(images)
    weights = patient_weights([str(i) for i in range(films)], resamples)
    figures: dict[str, dict[str, Estimate]] = {}
    compared: dict[str, np.ndarray] = {}
    for name in names:
        maps = maps_of(checkpoint, checkpoint.network, images, name)
        measured = measure_faithfulness(score, images, maps)
        figures[name] = {key: mean_estimate(values, weights) for key, values in measured.items()}
        compared[name] = maps[:, 2::4, 2::4]  # every fourth pixel: finer than any class activation map
        if progress:
            progress(name)
    return FaithfulnessReport(films=films, faithfulness=figures, agreement=agreement(compared))


def evaluate_randomisation(
    checkpoint: Checkpoint, images: torch.Tensor, names: Sequence[str], *, levels: int = 5
) -> Iterator[tuple[str, SanityReport | None]]:
    """The sanity check of each method on films (N, 3, h, w), as it is measured: its name and its row.

    The row is None for a method that this network does not allow, or whose maps are all constant.
    """
    for name in names:

        def maps(network: nn.Module, name: str = name) -> np.ndarray:
            return maps_of(checkpoint, network, images, name, **FEWER.get(name, {}))

        try:
            cascade = randomisation(maps, checkpoint.network, levels=levels)
        except ValueError as error:
            logger.info("%s is left out: %s", name, error)
            yield name, None
        else:
            yield name, SanityReport(len(images), passes(cascade), tuple(cascade), MOST)
