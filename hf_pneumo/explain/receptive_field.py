"""Where the cells of a network's last map look: the centres of what they see.

A map is commonly laid evenly over the image, cell i of n over the i-th n-th. Strided convolutions with symmetric
padding look elsewhere: the last cells of a ResNet are centred on pixels 0, 32, 64, not 15.5, 47.5, 79.5, and a map laid
evenly points half a cell too far down and right. What a trained cell sees is no matter of padding alone: a network may
learn to answer a cell or more away from what it has seen. So it is measured where it matters, at the cell that a class
activation map is hottest in, by the centroid of the cell's effective receptive field (Luo et al. 2016, arXiv
1701.04128).
"""

from __future__ import annotations

import torch
from torch import nn

from hf_pneumo.explain.explanation import EVEN, Offset
from hf_pneumo.explain.layer import Layer, default_layer, named_layer, run_from
from hf_pneumo.explain.replica import evaluating, unwrap, with_replaced
from hf_pneumo.explain.target import OneTarget, Target, label_names, per_image, resolve
from hf_pneumo.models.tokens import to_maps

BATCH = 8  # films at a time, whose whole graph is held


def cell_offset(model: nn.Module, images: torch.Tensor, target: Target = None, *, layer: str | None = None) -> Offset:
    """By how many pixels (down, right) the cells of a layer look beside the middle of their even share.

    images: preprocessed, (B, C, h, w), some 32 films with the finding, like those to be explained: what draws a single
    cell to one side cancels over them. target and layer: as of `explain`. The mean over the hottest cell of each film's
    Grad-CAM, of another layer than the last of its HiResCAM, which is what such a layer is read by. Zero where a class
    token is read: patches are cut without overlap. Costs about as much as a training step on them.
    """
    model = evaluating(unwrap(model))
    place = default_layer(model) if layer is None else named_layer(model, layer)
    if layer is None and not place.seam:
        return EVEN
    targets = per_image(target, len(images))
    starts = range(0, len(images), BATCH)
    parts = [_aside(model, place, images[i : i + BATCH], targets[i : i + BATCH]) for i in starts]
    down, right = torch.cat(parts).nanmean(0).nan_to_num(0.0).tolist()
    return down, right


def _aside(model: nn.Module, place: Layer, images: torch.Tensor, targets: list[OneTarget]) -> torch.Tensor:
    """Pixels (B, 2), down and right, from the middle of the hottest cell's even share to the centroid of what it sees.

    NaN for an image that the cell does not see.
    """
    size = tuple(images.shape[-2:])
    with torch.inference_mode(False), torch.enable_grad():
        images = images.detach().clone().requires_grad_()
        logits, leaf = run_from(model, images.detach(), place)
        score = resolve(targets, logits.detach(), label_names(model, logits.shape[1])).score(logits)
        (gradient,) = torch.autograd.grad(score.sum(), leaf)
        weight = to_maps(gradient, model, size)
        weight = weight.mean((2, 3), keepdim=True) if place.seam else weight  # of the last map Grad-CAM's (B, C, 1, 1)
        cam = (weight * to_maps(_features(model, place, images), model, size)).sum(1)  # (B, gh, gw)
        hottest = cam.detach().flatten(1).argmax(1, keepdim=True)  # (B, 1)
        (seen,) = torch.autograd.grad(cam.flatten(1).gather(1, hottest).sum(), images)
    power = seen.square().sum(1)  # (B, h, w)
    power = power / power.sum((1, 2), keepdim=True)
    row_and_column = torch.cat([hottest // cam.shape[2], hottest % cam.shape[2]], 1)  # (B, 2)
    aside = []
    for along, cells, cell in zip((power.sum(2), power.sum(1)), cam.shape[1:], row_and_column.T, strict=True):
        side = along.shape[1]
        centroid = (along * torch.arange(side, device=along.device)).sum(1)  # (B,)
        aside.append(centroid - ((cell + 0.5) * side / cells - 0.5))
    return torch.stack(aside, 1)


class _Keeper(nn.Module):
    """A module whose output is kept, with its graph."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.output = module, None

    def forward(self, *args: object, **kwargs: object) -> torch.Tensor:
        self.output = self.module(*args, **kwargs)
        return self.output


def _features(model: nn.Module, place: Layer, images: torch.Tensor) -> torch.Tensor:
    """The output of the layer for images (B, C, h, w), with its graph."""
    if place.seam:
        return model.forward_features(images)
    keeper = _Keeper(model.get_submodule(place.name))
    with_replaced(model, {place.name: keeper})(images)
    return keeper.output
