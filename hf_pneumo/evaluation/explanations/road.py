"""ROAD: what a map's pixels are worth when they are removed without leaving a hole (Rong et al., arXiv 2202.00449).

A removed pixel becomes the weighted mean of its eight neighbours, removed or not: one linear system for each image. All
images are solved at once by multigrid cycles, to about the noise that the method adds anyway; a sparse factorisation of
each takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

SHARES = (0.2, 0.4, 0.6, 0.8)
NOISE = 0.01  # of the image's own spread, so that a filled hole is not betrayed by its smoothness
CYCLES, SWEEPS = 8, 2


def removal_curve(
    score: Callable[[torch.Tensor], torch.Tensor],
    image: torch.Tensor,
    order: np.ndarray,
    *,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
) -> float:
    """ROAD of an image (C, h, w) whose pixels are ranked by `order`, the most important first: int (h*w,).

    The score's mean over shares when the least important pixels are removed, minus that when the most important are,
    halved: in [-1/2, 1/2] for probabilities, high is good. What counts is the information and not the hole.
    """
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size)
    places = torch.from_numpy(rank).view(image.shape[-2:])
    counts = [round(share * order.size) for share in shares]
    least = [places >= order.size - count for count in counts]
    missing = torch.stack(least + [places < count for count in counts]).to(image.device)
    images = fill(image.expand(len(missing), -1, -1, -1), missing, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        scores = score(images).double()
    return float((scores[: len(shares)].mean() - scores[len(shares) :].mean()) / 2)


def fill(images: torch.Tensor, missing: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """ROAD's noisy linear imputation (section 4.2): images (B, C, h, w) with their missing pixels (B, h, w) bool filled
    in. An image of which nothing is left becomes noise around its mean."""
    spread, mean = torch.std_mean(images.float(), (2, 3), correction=0, keepdim=True)
    scale = torch.where(spread > 0, spread, 1.0)
    plain = (images.float() - mean) / scale
    if torch.allclose(plain, plain[:, :1].expand_as(plain), atol=1e-4):
        plain = plain[:, :1]  # the channels of a grey film differ by mean and spread alone
    noise = torch.randn(plain.shape, generator=generator).to(plain) * NOISE
    filled = (_solve(plain, missing[:, None].to(plain)) + noise) * scale + mean
    return torch.where(missing[:, None], filled.to(images.dtype), images)


def _solve(values: torch.Tensor, unknown: torch.Tensor) -> torch.Tensor:
    """Values (B, C, h, w) whose unknown pixels (B, 1, h, w), marked by 1, are the means of their neighbours."""
    known = 1 - unknown
    start = (values * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp_min(1)
    found = torch.lerp(values, start.expand_as(values), unknown)
    weights = unknown * _reach(values)
    for _ in range(CYCLES):
        found = found + _cycle(_around(found) * weights - found * unknown, unknown)
    return found


def _cycle(residual: torch.Tensor, unknown: torch.Tensor) -> torch.Tensor:
    """One multigrid V-cycle for the correction e that is 0 where known and mean(e) + residual elsewhere."""
    size, weights = residual.shape[-2:], unknown * _reach(residual)
    e = residual
    for _ in range(SWEEPS - 1):
        e = _around(e).mul_(weights).add_(residual)
    if min(size) > 2:
        left = _around(e).mul_(weights).add_(residual).sub_(e)
        inner = (_halved(unknown) > 0.99).to(unknown)  # a coarse pixel that holds a known one has no error
        coarse = _cycle(4 * _halved(left) * inner, inner)  # a pixel twice as wide: four times the Laplacian
        e = e + unknown * F.interpolate(coarse, size, mode="bilinear", align_corners=False)
    for _ in range(SWEEPS):
        e = _around(e).mul_(weights).add_(residual)
    return e


def _around(x: torch.Tensor) -> torch.Tensor:
    """Twelve times the neighbours' weighted sum, 1/6 for each side and 1/12 for each corner; beyond the edge is 0."""
    rows = 2 * x
    rows[..., 1:] += x[..., :-1]
    rows[..., :-1] += x[..., 1:]
    found = 2 * rows
    found[..., 1:, :] += rows[..., :-1, :]
    found[..., :-1, :] += rows[..., 1:, :]
    return found.sub_(x, alpha=4)


def _reach(x: torch.Tensor) -> torch.Tensor:
    """What makes a mean of that sum: one over the weights that lie in the image, (1, 1, h, w)."""
    return 1 / _around(torch.ones_like(x[:1, :1]))


def _halved(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
