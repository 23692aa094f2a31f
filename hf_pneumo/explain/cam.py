"""Class activation maps: what a layer's maps say for a target, at the cost of one prediction.

The trunk runs once without gradient; only what follows the layer is differentiated. Each method is a pure function of
the layer's activations A and the score's gradient G, both (B, C, gh, gw), and gives raw maps (B, gh, gw).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from hf_pneumo.explain.explanation import EVEN, Offset, ZeroGradientError
from hf_pneumo.explain.layer import Layer, default_layer, named_layer, run_from
from hf_pneumo.explain.raw_maps import RawMaps, upsample
from hf_pneumo.explain.replica import evaluating, unwrap
from hf_pneumo.explain.target import Target, Targets, label_names, resolve
from hf_pneumo.models.tokens import to_maps

CAM_TOLERANCE = (
    0.02  # bfloat16 keeps 8 bits: a linear head's logits, recomputed in float32, agree this far under autocast
)


@dataclass(frozen=True)
class CamPass:
    """One forward pass: logits (B, K), activations and their gradients (B, C, gh, gw), all float32; gradients may be
    None."""

    logits: torch.Tensor
    activations: torch.Tensor
    gradients: torch.Tensor | None
    targets: Targets
    layer: str

    def raw(self, maps: torch.Tensor) -> RawMaps:
        """The maps (B, gh, gw) that a method made of this pass, with what belongs to them."""
        return RawMaps(maps, self.logits, self.targets, self.layer)


def cam_pass(
    model: nn.Module, images: torch.Tensor, target: Target = None, *, layer: str | None = None, gradient: bool = True
) -> CamPass:
    """Logits, maps and, if wanted, the score's gradient from one forward pass of images (B, C, h, w).

    `layer` None takes the last map that the score depends on; see `default_layer`. Neither the network nor the images
    are changed. Raises ZeroGradientError when no image's score depends on the layer's maps.
    """
    model = evaluating(unwrap(model))
    place = default_layer(model) if layer is None else named_layer(model, layer)
    with torch.inference_mode(False):  # inference tensors cannot enter a graph; a caller may be inside inference_mode
        images = images.clone() if images.is_inference() else images
        logits, output = run_from(model, images, place)
        if logits.ndim != 2:
            raise ValueError(
                f"`model` gives an output of shape {tuple(logits.shape)}, not logits (B, number of classes)."
            )
        targets = resolve(target, logits.detach(), label_names(model, logits.shape[1]))
        size = tuple(images.shape[-2:])
        gradients = _gradient(model, targets.score(logits), output, place, size) if gradient else None
        return CamPass(
            logits.detach().float(), to_maps(output.detach(), model, size).float(), gradients, targets, place.name
        )


def _gradient(
    model: nn.Module, score: torch.Tensor, output: torch.Tensor, place: Layer, size: tuple[int, int]
) -> torch.Tensor:
    full = torch.autograd.grad(score.sum(), output, allow_unused=True)[0]
    maps = None if full is None else to_maps(full, model, size).float()
    if maps is None or not maps.any():
        better = default_layer(model).name if hasattr(model, "forward_head") else ""
        advice = (
            f"take `layer`={better!r}, the default"
            if better and better != place.name
            else "the head is dead for these images; take a method without gradient, such as 'eigencam' or 'occlusion'"
        )
        raise ZeroGradientError(
            f"`layer` {place.name!r}: the score has zero gradient at every image position; {advice}."
        )
    return maps


def _weighted(weights: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    """Sum over channels of weights (B, C) times maps (B, C, gh, gw); no matrix product, which autocast would round."""
    return (weights[:, :, None, None] * activations).sum(1)  # (B, gh, gw)


def gradcam(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """Grad-CAM: ReLU of the maps weighted by their mean gradient (Selvaraju et al. 2017, eq. 1-2, arXiv 1610.02391)."""
    return _weighted(gradients.mean((2, 3)), activations).relu()


def gradcam_plus_plus(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """Grad-CAM++ (Chattopadhay et al. 2018, eq. 19, arXiv 1710.11063), G^2 cancelled: alpha = 1 / (2 + G sum(A))
    where G > 0.

    The paper has A >= 0. For signed maps the sum is taken over the positive part, lest the denominator pass zero.
    """
    positive = gradients.relu()
    alpha = 1.0 / (2.0 + positive * activations.relu().sum((2, 3), keepdim=True))
    return _weighted((alpha * positive).sum((2, 3)), activations).relu()


def hirescam(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """HiResCAM: ReLU of the sum over channels of gradient times activation (Draelos and Carin 2020, arXiv
    2011.08891)."""
    return (gradients * activations).sum(1).relu()


def layercam(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """LayerCAM: ReLU of the sum over channels of positive gradient times activation (Jiang et al. 2021, TIP 30, eq.
    4-6)."""
    return (gradients.relu() * activations).sum(1).relu()


def xgradcam(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """XGrad-CAM: each map's weight is its activation-weighted mean gradient (Fu et al. 2020, eq. 8, arXiv
    2008.02312)."""
    total = activations.sum((2, 3))
    weights = (gradients * activations).sum((2, 3)) / torch.where(total == 0, torch.ones_like(total), total)
    return _weighted(weights, activations).relu()


def eigencam(activations: torch.Tensor) -> torch.Tensor:
    """Eigen-CAM: the positions' projection on the first right singular vector, whatever the class (Muhammad and Yeasin
    2020, arXiv 2008.00299). The vector's sign is free; it is taken so that strongly activated positions come out
    positive."""
    positions = activations.flatten(2).transpose(1, 2)  # (B, gh*gw, C)
    small = positions @ positions.transpose(1, 2) if positions.shape[1] <= positions.shape[2] else None
    if small is not None:  # O V1 = sigma1 U1, and U1 is an eigenvector of the small matrix O O'
        values, vectors = torch.linalg.eigh(small)
        projection = vectors[:, :, -1] * values[:, -1:].clamp_min(0).sqrt()
    else:
        _, vectors = torch.linalg.eigh(positions.transpose(1, 2) @ positions)
        projection = (positions @ vectors[:, :, -1:])[..., 0]
    sign = torch.where((projection * positions.norm(dim=2)).sum(1, keepdim=True) < 0, -1.0, 1.0)
    return (projection * sign).relu().view(-1, *activations.shape[2:])


def class_activation(result: CamPass, model: nn.Module) -> torch.Tensor:
    """CAM: the classifier's row applied to the maps, signed (Zhou et al. 2016, eq. 2, arXiv 1512.04150).

    Raises ValueError unless the logits of this very pass are a linear layer of the maps' means.
    """
    classifier = unwrap(model).get_classifier() if hasattr(unwrap(model), "get_classifier") else None
    pooled = result.activations.mean((2, 3))
    if isinstance(classifier, nn.Linear) and classifier.in_features == pooled.shape[1]:
        weight, bias = classifier.weight.detach().float(), classifier.bias
        logits = F.linear(pooled, weight, None if bias is None else bias.detach().float())
        close = CAM_TOLERANCE * float(result.logits.abs().amax().clamp_min(1.0))
        if torch.allclose(logits, result.logits, rtol=CAM_TOLERANCE, atol=close):
            return _weighted(result.targets.weights @ weight, result.activations)
    raise ValueError(
        "`method` 'cam' needs a linear classifier right after global average pooling, which this network has not; "
        "take 'gradcam', which equals it there and serves every other head."
    )


@torch.no_grad()
def scorecam(
    model: nn.Module,
    images: torch.Tensor,
    result: CamPass,
    *,
    batch_size: int = 32,
    channels: int | None = None,
    offset: Offset = EVEN,
    progress: Callable[[float], None] | None = None,
) -> torch.Tensor:
    """Score-CAM: each map, upsampled and scaled to [0, 1], masks the image; softmax of the masked images' scores are
    the weights (Wang et al. 2020, eq. 4-7, arXiv 1910.01279; the baseline's score cancels in the softmax).

    `batch_size` masked images go through the network at once; `channels` keeps only the maps of largest range. A mask
    shows what the cells look at, as `offset` says.
    """
    model, size = evaluating(unwrap(model)), tuple(images.shape[-2:])
    batch, count = result.activations.shape[:2]
    kept = count if channels is None else min(int(channels), count)
    if kept < 1:
        raise ValueError(f"`channels` is {channels}; give at least 1, or None for all {count}.")
    maps = []
    for image in range(batch):
        activations = result.activations[image]
        if kept < count:
            span = activations.amax((1, 2)) - activations.amin((1, 2))
            activations = activations[span.topk(kept).indices]
        scores = []
        for start in range(0, kept, batch_size):
            masks = upsample(activations[start : start + batch_size], size, offset)
            low, high = masks.amin((1, 2), keepdim=True), masks.amax((1, 2), keepdim=True)
            masks = (masks - low) / (high - low).clamp_min(1e-8)
            logits = model(images[image : image + 1] * masks[:, None].to(images.dtype)).float()
            scores.append(logits @ result.targets.weights[image])
            if progress:
                progress((image * kept + start + len(logits)) / (batch * kept))
        maps.append(_weighted(torch.cat(scores).softmax(0)[None], activations[None]).relu())
    return torch.cat(maps)


def run_gradient_cam(
    formula: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    model: nn.Module,
    images: torch.Tensor,
    target: Target,
    *,
    layer: str | None = None,
) -> RawMaps:
    """A method that is a formula of activations and gradients, on one batch."""
    result = cam_pass(model, images, target, layer=layer)
    return result.raw(formula(result.activations, result.gradients))


def run_eigencam(model: nn.Module, images: torch.Tensor, target: Target, *, layer: str | None = None) -> RawMaps:
    """Eigen-CAM on one batch; the target is only named."""
    result = cam_pass(model, images, target, layer=layer, gradient=False)
    with torch.autocast(images.device.type, enabled=False):
        return result.raw(eigencam(result.activations))


def run_cam(model: nn.Module, images: torch.Tensor, target: Target, *, layer: str | None = None) -> RawMaps:
    """CAM on one batch."""
    result = cam_pass(model, images, target, layer=layer, gradient=False)
    with torch.autocast(images.device.type, enabled=False):
        return result.raw(class_activation(result, model))


def run_scorecam(
    model: nn.Module,
    images: torch.Tensor,
    target: Target,
    *,
    layer: str | None = None,
    offset: Offset = EVEN,
    progress: Callable[[float], None] | None = None,
    internal_batch_size: int = 32,
    channels: int | None = None,
) -> RawMaps:
    """Score-CAM on one batch."""
    result = cam_pass(model, images, target, layer=layer, gradient=False)
    how = {"batch_size": internal_batch_size, "channels": channels, "offset": offset, "progress": progress}
    return result.raw(scorecam(model, images, result, **how))
