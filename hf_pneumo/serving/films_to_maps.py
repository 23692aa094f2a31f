"""What an exported graph computes, in torch: grey films to logits, probabilities and heatmaps, ready to be traced.

A map over several views (sizes, mirror images, shifts) is linear in each view's raw map up to the view's scaling. So
what `explain` does by resizing, flipping and shifting stands here as two matrices a view, which any runtime multiplies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_pneumo.explain.cam import gradcam, gradcam_plus_plus, hirescam, layercam, xgradcam
from hf_pneumo.explain.explainer import TINY, View, shifted, views_of
from hf_pneumo.explain.explanation import Offset
from hf_pneumo.explain.layer import Layer, default_layer, named_layer
from hf_pneumo.explain.raw_maps import interpolation_matrix, is_constant, scale
from hf_pneumo.explain.replica import replicate, with_replaced
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.checkpoint import Checkpoint
from hf_pneumo.models.tensors import normalised, scaled
from hf_pneumo.models.tokens import to_maps

FORMULAS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gradcam": gradcam, "gradcam++": gradcam_plus_plus, "hirescam": hirescam, "layercam": layercam,
    "xgradcam": xgradcam,
}  # fmt: skip
Size = tuple[int, int]


class FilmsToMaps(nn.Module):
    """Films (N, 1, h, w), targets (N, K) and the films finer (N, 1, H, W) to logits, probabilities (N, K) and heatmaps.

    ``fine`` is left out where the map is made at the model's own size. Raises KeyError for a method that is no formula
    of activations and gradients.
    """

    def __init__(self, checkpoint: Checkpoint):
        super().__init__()
        config, recipe = checkpoint.config, checkpoint.config.recipe
        self.network = replicate(checkpoint.network, _plain_attention)
        self.plain, self.exclusive = config.preprocess, config.labels.exclusive
        self.fine = recipe.preprocess(config.preprocess)
        self.temperature = config.operating_point.temperature
        self.formula, self.offset = FORMULAS[recipe.method], recipe.offset
        self.layer = named_layer(self.network, recipe.layer) if recipe.layer else default_layer(self.network)
        views = views_of(recipe.smoothing, recipe.sizes)
        self.sides = [[view for view in views if view.side == side] for side in dict.fromkeys(v.side for v in views)]
        self.single = views == [View()]
        self.cells: Size = (0, 0)  # of the map's layer, known after a pass

    @property
    def takes_fine(self) -> bool:
        """Whether the map needs films of another size than the answer."""
        return self.fine.size != self.plain.size

    def forward(self, image: Tensor, target: Tensor, fine: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        x = _scaled(self.plain, image)
        if self.single:  # one pass gives both
            logits, raw = self._explained(normalised(self.plain, x), target)
            logits = (logits + self.network(normalised(self.plain, x.flip(-1)))) / 2 if self.plain.mirror else logits
            heat = _scaled_map(_spread(raw, self.plain.size, self.offset), raw)
        else:
            logits = self._answer(x)
            heat = self._over_views(x if fine is None else _scaled(self.fine, fine), target)
        warm = logits / self.temperature
        return logits, warm.softmax(1) if self.exclusive else warm.sigmoid(), heat

    def _answer(self, x: Tensor) -> Tensor:
        """Logits (N, K) of scaled films (N, h, w); a mirror image goes through the network beside its film."""
        films = x.shape[0]
        if not self.plain.mirror:
            return self.network(normalised(self.plain, x))
        both = self.network(normalised(self.plain, torch.cat([x, x.flip(-1)])))
        return (both[:films] + both[films:]) / 2

    def _explained(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) and raw maps (N, gh, gw) of inputs (N, 3, h, w) for targets (N, K)."""
        activations, rest = _split(self.network, x, self.layer)
        logits, pull_back = torch.func.vjp(rest, activations)
        (gradients,) = pull_back(target)
        size = tuple(x.shape[-2:])
        raw = self.formula(to_maps(activations, self.network, size), to_maps(gradients, self.network, size))
        self.cells = self.cells if any(self.cells) else (int(raw.shape[-2]), int(raw.shape[-1]))
        return logits, raw

    def _over_views(self, x: Tensor, target: Tensor) -> Tensor:
        """Heatmaps (N, H, W) of scaled films (N, H, W): the mean over the views, as `explain` makes it."""
        films, size = x.shape[0], self.fine.size
        laid_back = []
        for views in self.sides:  # the views of one size go through the network at once
            shown = views[0].shape(size)
            small = x if shown == size else _resized(x, size, shown)
            inputs = torch.cat([_seen(view, small, size) for view in views])
            _, raw = self._explained(normalised(self.fine, inputs), torch.cat([target] * len(views)))
            for number, view in enumerate(views):
                laid = _Laid.back(view, size, tuple(raw.shape[-2:]), self.offset)
                pixels = laid.down @ raw[number * films : (number + 1) * films] @ laid.right.T
                pixels = pixels / pixels.amax((1, 2), keepdim=True).clamp_min(TINY) if view.side else pixels
                laid_back.append(pixels)
        mean = torch.stack(laid_back).mean(0)
        down, right = (_pooling(*pair) for pair in zip(size, self.cells, strict=True))
        return _scaled_map(mean, down @ mean @ right.T)


@dataclass(frozen=True)
class _Laid:
    """The matrices (H, gh) and (W, gw) that lay a view's raw map over the films as they are."""

    down: Tensor
    right: Tensor

    @classmethod
    def back(cls, view: View, size: Size, cells: Size, offset: Offset) -> _Laid:
        shown, steps = view.shape(size), view.steps(size)
        sides = []
        for axis in range(2):
            own = torch.eye(cells[axis])
            if cells != shown:
                own = interpolation_matrix(shown[axis], cells[axis], offset[axis])
            moved = shifted(own[:, None], -steps[axis], 0)[:, 0]  # (side, cells): its rows are pixels
            moved = moved.flip(0) if view.flip and axis == 1 else moved
            sides.append(moved if shown == size else interpolation_matrix(size[axis], shown[axis], 0.0) @ moved)
        return cls(*sides)


def _scaled(preprocess: Preprocess, image: Tensor) -> Tensor:
    """Films (N, 1, h, w) from 0 to 255 as (N, h, w); from here on only the number of films is symbolic."""
    return scaled(preprocess, image.reshape(image.shape[0], *preprocess.size) / 255)


def _seen(view: View, x: Tensor, size: Size) -> Tensor:
    """Films (N, h, w) that have a view's size already, mirrored and shifted as it says."""
    return shifted(x.flip(-1) if view.flip else x, *view.steps(size))


def _resized(x: Tensor, size: Size, shown: Size) -> Tensor:
    """Films (N, H, W) to (N, h, w), bilinear and antialiased, as two products of matrices."""
    down, right = (
        F.interpolate(torch.eye(old)[None, None], size=(new, old), mode="bilinear", antialias=True)[0, 0]
        for old, new in zip(size, shown, strict=True)
    )
    return down @ x @ right.T


def _pooling(side: int, cells: int) -> Tensor:
    """The matrix (cells, side) of adaptive average pooling."""
    return F.adaptive_avg_pool1d(torch.eye(side)[None], cells)[0].T


def _spread(raw: Tensor, size: Size, offset: Offset) -> Tensor:
    """Raw maps (N, gh, gw) over (N, h, w); see `raw_maps.upsample`."""
    down, right = (interpolation_matrix(*side) for side in zip(size, raw.shape[-2:], offset, strict=True))
    return down @ raw @ right.T


def _scaled_map(fine: Tensor, raw: Tensor) -> Tensor:
    """Maps (N, h, w) to [0, 1], zeros where ``raw`` has no contrast."""
    return torch.where(is_constant(raw)[:, None, None], torch.zeros_like(fine), scale(fine))


def _split(
    network: nn.Module, x: torch.Tensor, layer: Layer
) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
    """The layer's output for x, and what the network makes of such an output.

    Within the network the trunk is traced once more for the second, to no effect: nothing depends on it, and unused
    operations are left out of the graph.
    """
    if layer.seam:
        return network.forward_features(x), network.forward_head
    try:
        with_replaced(network, {layer.name: _Recorder(network.get_submodule(layer.name))})(x)
    except _Reached as reached:
        output = reached.output
        return output, lambda output: with_replaced(network, {layer.name: _Constant(output)})(x)
    raise ValueError(f"`layer` {layer.name!r} takes no part in this network's forward pass; take another")


class _Reached(Exception):
    """The layer gave its output; what follows is not traced a first time."""

    def __init__(self, output: Tensor):
        super().__init__()
        self.output = output


class _Recorder(nn.Module):
    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Tensor:
        raise _Reached(self.module(*inputs))


class _Constant(nn.Module):
    def __init__(self, output: Tensor):
        super().__init__()
        self.output = output

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.output


def _plain_attention(name: str, module: nn.Module) -> None:
    """Attention written out, as ONNX has it."""
    if getattr(module, "fused_attn", False):
        module.fused_attn = False
