"""Ensembles: several networks that answer as one, by the weighted mean of their calibrated logits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.member import Member

TOLERANCE = 1e-6  # how far the weights' sum may lie from 1


class Ensemble(nn.Module):
    """Images (B, 3, h, w), normalised as ``preprocess`` says, to logits (B, K): the weighted mean of members' logits,
    each divided by its temperature (the log of a geometric mean of probabilities; Hinton 2002).

    ``networks`` beside ``members``, their records. A member that was trained with another mean and standard deviation
    gets the images in its own terms. Raises ValueError for fewer than two members or weights that make no mean.
    """

    def __init__(self, networks: Sequence[nn.Module], members: Sequence[Member], preprocess: Preprocess):
        super().__init__()
        if len(networks) < 2 or len(networks) != len(members):
            raise ValueError(
                f"`networks` are {len(networks)} for {len(members)} members; give at least 2, one for each"
            )
        weights = [member.weight for member in members]
        if min(weights) < 0 or abs(sum(weights) - 1) > TOLERANCE:
            raise ValueError(f"`members` have the weights {weights}; give weights from 0 that sum to 1")
        if min(member.temperature for member in members) <= 0:
            raise ValueError("`members` have a temperature of 0 or below; fit it on validation films")
        self.networks = nn.ModuleList(networks)
        self.records = tuple(members)
        self.num_features = sum(network.num_features for network in networks)
        self.pretrained_cfg: dict[str, Any] = {}
        for i, member in enumerate(members):  # (1, 3, 1, 1) each; in no state dict, for they follow from the records
            scale = [ours / own for ours, own in zip(preprocess.std, member.std, strict=True)]
            shift = [(m - own) / s for m, own, s in zip(preprocess.mean, member.mean, member.std, strict=True)]
            same = (member.mean, member.std) == (preprocess.mean, preprocess.std)
            for name, values in (("scale", scale), ("shift", shift)):
                value = None if same else torch.tensor(values).view(1, -1, 1, 1)
                self.register_buffer(f"_{name}{i}", value, persistent=False)

    def inputs_of(self, index: int, images: Tensor) -> Tensor:
        """The images (B, 3, h, w) as member ``index`` normalises them."""
        scale, shift = getattr(self, f"_scale{index}"), getattr(self, f"_shift{index}")
        return images if scale is None else images * scale.to(images) + shift.to(images)

    def mean_of(self, values: Sequence[Tensor]) -> Tensor:
        """The mean over members of ``values``, one tensor for each, by the members' weights."""
        return sum(member.weight * value for member, value in zip(self.records, values, strict=True))

    def combine(self, logits: Sequence[Tensor]) -> Tensor:
        """The ensemble's logits (B, K) from its members' own, in their order."""
        return self.mean_of([z / member.temperature for member, z in zip(self.records, logits, strict=True)])

    def forward(self, images: Tensor) -> Tensor:
        return self.combine([network(self.inputs_of(i, images)) for i, network in enumerate(self.networks)])


def architecture_of(members: Sequence[Member]) -> str:
    """What an ensemble is called where a network has an architecture: "2 x resnet18 + densenet121"."""
    counts = Counter(member.architecture for member in members)
    return " + ".join(name if n == 1 else f"{n} x {name}" for name, n in counts.items())


def shared_preprocess(names: Sequence[str], preprocesses: Sequence[Preprocess]) -> Preprocess:
    """The preprocessing of an ensemble: the first's; ValueError where another's films are cut or sized in another way.

    Mean and standard deviation may differ: a member's own follow from the first's by an affine map.
    """
    first = preprocesses[0]
    for name, other in zip(names, preprocesses, strict=True):
        if replace(other, mean=first.mean, std=first.std) != first:
            differ = [k for k, v in other.to_dict().items() if k not in ("mean", "std") and v != first.to_dict()[k]]
            raise ValueError(
                f"`checkpoints` {names[0]} and {name} prepare films differently ({', '.join(differ)}); an ensemble "
                "needs members trained with the same size, crop and interpolation"
            )
    return first
