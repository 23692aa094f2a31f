"""Whether a checkpoint's heatmaps show what its network uses, on films of which no truth need be known: two tables."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from hf_pneumo.evaluation.explanations import localization as loc
from hf_pneumo.evaluation.explanations.evaluate_localization import default_target, reading_options
from hf_pneumo.evaluation.explanations.faithfulness import Score, agreement, measure_faithfulness
from hf_pneumo.evaluation.explanations.sanity_checks import MOST, passes, randomisation
from hf_pneumo.explain import explain
from hf_pneumo.models.checkpoint import Checkpoint

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


def evaluate_faithfulness(
    checkpoint: Checkpoint,
    images: torch.Tensor,
    names: Sequence[str],
    *,
    resamples: int = loc.RESAMPLES,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """`FIGURES` of each method on films (N, 3, h, w), with 95 % intervals by film, and the methods' agreement."""
    score, films = score_of(checkpoint), len(images)
    weights = loc.patient_weights([str(i) for i in range(films)], resamples)
    report: dict[str, Any] = {"films": films, "faithfulness": {}}
    compared: dict[str, np.ndarray] = {}
    for name in names:
        maps = maps_of(checkpoint, checkpoint.network, images, name)
        figures = measure_faithfulness(score, images, maps)
        report["faithfulness"][name] = {key: loc.interval(values, weights) for key, values in figures.items()}
        compared[name] = maps[:, 2::4, 2::4]  # every fourth pixel: finer than any class activation map
        if progress:
            progress(name)
    return report | {"agreement": agreement(compared)}


def evaluate_randomisation(
    checkpoint: Checkpoint, images: torch.Tensor, names: Sequence[str], *, levels: int = 5
) -> Iterator[tuple[str, dict[str, Any] | None]]:
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
            yield name, {"films": len(images), "levels": cascade, "passes": passes(cascade), "most": MOST}


def trust_table(report: Mapping[str, Any]) -> str:
    """A report's figures as Markdown: the faithfulness table, then the sanity check's, each where it was measured."""
    parts = []
    if report.get("faithfulness"):
        lines = ["| map | " + " | ".join(FIGURES.values()) + " |", "|---" * (len(FIGURES) + 1) + "|"]
        for name, row in report["faithfulness"].items():
            cells = [f"{row[key]['value']:.2f} ({row[key]['low']:.2f}-{row[key]['high']:.2f})" for key in FIGURES]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines) + "\n")
    if report.get("randomisation"):
        ends = "head randomised: rank correlation | SSIM | all randomised: rank correlation | SSIM"
        lines = [f"| map | films | {ends} | passes |", "|---" * 7 + "|"]
        for name, row in report["randomisation"].items():
            ends = (row["levels"][0], row["levels"][-1])
            cells = [f"{end[key]:.2f}" for end in ends for key in ("rank_correlation", "similarity")]
            cells = [name, str(row["films"]), *cells, "yes" if row["passes"] else "**no**"]
            lines.append("| " + " | ".join(cells) + " |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)
