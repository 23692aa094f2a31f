"""What an ensemble sees: the weighted mean of its members' heatmaps, each scaled to [0, 1] before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from hf_pneumo.explain.explanation import Explanation
from hf_pneumo.explain.raw_maps import RawMaps, make_explanations
from hf_pneumo.explain.replica import evaluating
from hf_pneumo.explain.target import Target, label_names, predicted, resolve
from hf_pneumo.models.ensemble import Ensemble

# (number of the member, its network, images in its own normalisation, target) to its explanations.
ExplainOne = Callable[[int, nn.Module, torch.Tensor, Target], list[Explanation]]


def explain_members(
    explain_one: ExplainOne, ensemble: Ensemble, images: torch.Tensor, target: Target, method: str
) -> list[Explanation]:
    """One Explanation for each of the images (B, C, h, w), with the ensemble's own logits.

    The grid is the mean map at the first member's resolution. `target` None is the class that the ensemble predicts,
    which costs one more prediction; a member whose map is constant adds nothing to the mean.
    """
    if target is None:
        with torch.inference_mode():
            target = [predicted(row) for row in evaluating(ensemble)(images)]
    found = [
        explain_one(i, network, ensemble.inputs_of(i, images), target) for i, network in enumerate(ensemble.networks)
    ]
    stacked = [torch.from_numpy(np.stack([e.heatmap for e in own])) for own in found]  # (B, h, w) each
    logits = ensemble.combine([torch.from_numpy(np.stack([e.logits for e in own])) for own in found])  # (B, K)
    mean = ensemble.mean_of(stacked)
    grid = F.adaptive_avg_pool2d(mean[:, None], found[0][0].grid.shape)[:, 0]  # (B, gh, gw)
    layers = " + ".join(dict.fromkeys(own[0].layer for own in found))
    targets = resolve(target, logits, label_names(ensemble, logits.shape[1]))
    return make_explanations(RawMaps(grid, logits, targets, layers), tuple(images.shape[-2:]), method, pixels=mean)
