"""Does a heatmap depend on what the network has learnt? The sanity check of Adebayo et al. 2018, arXiv 1810.03292.

The trained weights are drawn anew, from the output to the input. A method that shows the same map of a network that
has learnt nothing shows the image, or its own habits, and no evidence. What is demanded of every method is that the
map of the fully randomised network no longer ranks the pixels as the trained one's did. Randomising the head alone is
reported and not demanded: a method that looks at no class, such as Eigen-CAM or attention rollout, cannot see the head.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from hf_pneumo.evaluation.explanations.faithfulness import rank_correlation, similarity
from hf_pneumo.records import JsonRecord

Explain = Callable[[nn.Module], np.ndarray]

MOST = 0.5  # rank correlation from which on two maps are called the same


@dataclass(frozen=True)
class RandomisedLevel(JsonRecord):
    """How like the trained network's maps are those of one whose layers down to this one are random.

    ``similarity``: structural; ``rank_correlation``: Spearman's, signed; means over films.
    """

    down_to: str
    similarity: float
    rank_correlation: float


def layer_groups(model: nn.Module) -> list[str]:
    """Modules with weights, from the output to the input: the network's children, stacks of blocks taken apart."""
    names = []
    for name, child in model.named_children():
        parts = list(child.named_children()) if isinstance(child, (nn.Sequential, nn.ModuleList)) else []
        names += [f"{name}.{part}" for part, _ in parts] if len(parts) > 1 else [name]
    return [name for name in reversed(names) if any(True for _ in model.get_submodule(name).parameters())]


@torch.no_grad()
def randomise(model: nn.Module, name: str, generator: torch.Generator) -> None:
    """Draw a module's weights anew, each tensor from a normal distribution with its own mean and deviation, in
    place."""
    for value in model.get_submodule(name).parameters():
        spread = value.float().std(correction=0)
        drawn = torch.randn(value.shape, generator=generator).to(value.device) * spread + value.float().mean()
        value.copy_(drawn.to(value.dtype))


def randomisation(explain: Explain, model: nn.Module, *, levels: int = 5, seed: int = 0) -> list[RandomisedLevel]:
    """Cascading randomisation (section 3.1): at `levels` depths, the first being the head alone and the last the whole
    network, how like the trained network's maps are.

    `explain(network)` gives maps (N, h, w) in [0, 1]; the means are over the films whose trained map is not constant.
    Raises ValueError where none is.
    """
    generator, network = torch.Generator().manual_seed(seed), copy.deepcopy(model)
    before, groups, found = explain(model), layer_groups(model), []
    shown = [i for i, heat in enumerate(before) if heat.max() > heat.min()]
    if not shown:
        raise ValueError("`explain` gives constant maps only, which cannot be compared; take other films.")
    stops = set(np.unique(np.round(np.linspace(0, len(groups) - 1, max(1, min(levels, len(groups)))))).astype(int))
    for depth, name in enumerate(groups):
        randomise(network, name, generator)
        if depth not in stops:
            continue
        after = explain(network)
        found.append(
            RandomisedLevel(
                name,
                float(np.mean([similarity(before[i], after[i]) for i in shown])),
                float(np.mean([rank_correlation(before[i], after[i]) for i in shown])),
            )
        )
    return found


def passes(levels: Sequence[RandomisedLevel], most: float = MOST) -> bool:
    """Whether the maps of the fully randomised network no longer rank the pixels as the trained one's did."""
    return abs(levels[-1].rank_correlation) < most
