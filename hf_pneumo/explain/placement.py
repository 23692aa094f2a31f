"""Where the cells of a network's last map look: the centres of their effective receptive fields.

A map is commonly laid evenly over the image, cell i of n over the i-th n-th. Strided convolutions with symmetric
padding look elsewhere: the last cells of a ResNet are centred on pixels 0, 32, 64, not 15.5, 47.5, 79.5, and a map laid
evenly points half a cell too far down and right. What a trained cell sees is no matter of padding alone, so it is
measured: by the centroid of the gradient of its activations (Luo et al. 2016, arXiv 1701.04128).
"""

from __future__ import annotations

import torch
from torch import nn

from hf_pneumo.explain.explanation import EVEN, Offset
from hf_pneumo.explain.layer import default_layer
from hf_pneumo.explain.replica import evaluating, unwrap
from hf_pneumo.models.tokens import to_maps


def cell_offset(model: nn.Module, images: torch.Tensor) -> Offset:
    """By how many pixels (down, right) the cells of `default_layer` look beside the middle of their even share.

    images: preprocessed, (B, C, h, w), a few films like those to be explained. The mean over cells that lie
    symmetrically about the middle, so that what draws every cell towards it cancels. Zero where a class token is read:
    patches are cut without overlap. Costs up to 16 backward passes through the network.
    """
    model = evaluating(unwrap(model))
    if not default_layer(model).seam:
        return EVEN
    with torch.inference_mode(False), torch.enable_grad():
        images = images.detach().clone().requires_grad_()
        maps = to_maps(model.forward_features(images), model, tuple(images.shape[-2:]))  # (B, C, gh, gw)
        found = [
            _aside(images, maps, row, column)
            for row in _symmetric(maps.shape[-2])
            for column in _symmetric(maps.shape[-1])
        ]
    down, right = torch.stack(found).nanmean(0).nan_to_num(0.0).tolist()
    return down, right


def _symmetric(cells: int) -> list[int]:
    """Up to four places on a side, as many before the middle as behind it."""
    return sorted({cells // 4, (cells - 1) // 2, cells // 2, cells - 1 - cells // 4})


def _aside(images: torch.Tensor, maps: torch.Tensor, row: int, column: int) -> torch.Tensor:
    """Pixels (down, right), float (2,), from the middle of a cell's even share to the centroid of what it sees."""
    (gradient,) = torch.autograd.grad(maps[:, :, row, column].square().sum(), images, retain_graph=True)
    weight = gradient.abs().sum(1)  # (B, h, w)
    weight = weight / weight.sum((1, 2), keepdim=True)  # NaN for an image that the cell does not see
    seen = weight.sum(2), weight.sum(1)  # (B, h), (B, w)
    aside = []
    for along, cells, place in zip(seen, maps.shape[-2:], (row, column), strict=True):
        side = along.shape[1]
        centroid = (along * torch.arange(side, device=along.device)).sum(1)  # (B,)
        aside.append((centroid - ((place + 0.5) * side / cells - 0.5)).nanmean())
    return torch.stack(aside)
