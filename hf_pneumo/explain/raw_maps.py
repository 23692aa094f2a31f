"""How a raw map on the network's grid becomes a heatmap in [0, 1] over the image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from hf_pneumo.explain.explanation import EVEN, FLAT, Explanation, Offset
from hf_pneumo.explain.target import Targets


@dataclass(frozen=True)
class RawMaps:
    """What a method gives for one batch: maps (B, gh, gw) before scaling, logits (B, K), what was explained, and
    where."""

    maps: torch.Tensor
    logits: torch.Tensor
    targets: Targets
    layer: str = ""
    deltas: torch.Tensor | None = None


def upsample(maps: torch.Tensor, size: tuple[int, int], offset: Offset = EVEN) -> torch.Tensor:
    """Raw maps (B, gh, gw) to (B, h, w) by bilinear interpolation with pixel centres aligned (align_corners=False).

    `offset`: where the cells look, as `placement` measures it.
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    if any(offset):
        sides = zip(size, maps.shape[-2:], offset, strict=True)
        down, right = (interpolation_matrix(*side).to(maps) for side in sides)
        return down @ maps @ right.T
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]  # (B, h, w)


def interpolation_matrix(side: int, cells: int, aside: float) -> torch.Tensor:
    """The matrix (side, cells) of linear interpolation between cells that look `aside` pixels from their even places.

    Beyond the outermost cells it is constant.
    """
    place = ((torch.arange(side) + 0.5 - aside) * cells / side - 0.5).clamp(0, cells - 1)
    return (1 - (place[:, None] - torch.arange(cells)).abs()).clamp_min(0)


def is_constant(maps: torch.Tensor) -> torch.Tensor:
    """Whether each raw map (B, gh, gw) has no contrast beyond float32 noise: bool (B,)."""
    flat = maps.flatten(1)
    return (flat.amax(1) - flat.amin(1)) <= FLAT * flat.abs().amax(1)


def scale(maps: torch.Tensor, *, signed: bool = False, quantile: float = 1.0) -> torch.Tensor:
    """Maps (B, h, w) to [0, 1], each by itself.

    Non-negative maps are divided by their maximum, so that zero stays "no evidence"; `signed` ones are min-max scaled.
    `quantile` < 1 takes that quantile of the map for its maximum and clips above it, so that a few hot pixels of a
    pixel-level map do not blacken the rest (Smilkov et al. 2017, arXiv 1706.03825).
    """
    flat = maps.flatten(1)
    top = flat.amax(1, keepdim=True)
    if quantile < 1.0:
        ranked = torch.quantile(flat, quantile, dim=1, keepdim=True)
        top = torch.where(ranked > 0, ranked, top)  # a map that is zero almost everywhere keeps its maximum
    if signed:
        low = flat.amin(1, keepdim=True)
        flat, top = flat - low, top - low
    scaled = flat / top.clamp_min(torch.finfo(flat.dtype).tiny)
    return (scaled.clamp_max_(1.0) if quantile < 1.0 else scaled).view_as(maps)


@torch.no_grad()
def make_explanations(
    raw: RawMaps,
    size: tuple[int, int],
    method: str,
    *,
    signed: bool = False,
    quantile: float = 1.0,
    pixels: torch.Tensor | None = None,
    offset: Offset = EVEN,
) -> list[Explanation]:
    """One Explanation for each image of a batch, with heatmaps of `size` (h, w); `signed` and `quantile` as in `scale`.

    `pixels` (B, h, w) gives the raw map at pixel level where it is more than the upsampled grid (test-time smoothing).
    `offset` as in `upsample`. Raises ValueError when a map is not finite: then the network's weights or the image are
    not either.
    """
    maps = raw.maps.detach().float()
    if not torch.isfinite(maps).all():
        raise ValueError(
            f"The {method} map at layer {raw.layer!r} is not finite; check `model` for NaN weights and, under "
            "autocast, for overflow (bfloat16 has the range that float16 lacks)."
        )
    pixels = upsample(maps, size, offset) if pixels is None else pixels.detach().float()
    constant = is_constant(maps)
    heat = scale(pixels, signed=signed, quantile=quantile)
    flags = constant.tolist()
    if any(flags):
        heat[constant] = 0.0
    heat = heat.cpu().numpy()
    grids, logits = maps.cpu().numpy(), raw.logits.detach().float().cpu().numpy()
    names = raw.targets.names
    deltas = [None] * len(grids) if raw.deltas is None else [float(delta) for delta in raw.deltas]
    return [
        Explanation(heat[i], grids[i], method, raw.layer, names[i], flags[i], logits[i], deltas[i])
        for i in range(len(grids))
    ]
