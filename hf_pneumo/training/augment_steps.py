"""Augmentation as steps in a row, each on its share of the films: how albumentations does it, for whole batches.

The ranges of :data:`PAPER` are those of the code of arXiv 2511.00456 and of albumentations 2.0, on which it relies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_pneumo.training.film_operations import Draws, clahe

# Films (n, H, W) in [0, 1] and their own draws to films of that shape; what leaves [0, 1] is clipped afterwards.
Operation = Callable[[Tensor, Draws], Tensor]
LONGEST_MOTION = 7  # pixels; motion is 3, 5 or 7 long


@dataclass(frozen=True)
class Steps:
    """Operations in order, each beside the probability with which a film gets it."""

    steps: tuple[tuple[float, Operation], ...]

    def apply(self, films: Tensor, generator: torch.Generator) -> Tensor:
        """``films`` float (B, H, W) in [0, 1] to the same, each film by its own draws; the input is left as it is."""
        x = films.clone()
        for probability, operation in self.steps:
            hit = Draws(len(x), x.device, generator).hit(probability)
            if n := int(hit.sum()):
                x[hit] = operation(x[hit], Draws(n, x.device, generator)).clamp(0, 1)
        return x


def affine(x: Tensor, draw: Draws, *, degrees: float = 0.0, shift: float = 0.0, scale: float = 0.0) -> Tensor:
    """Rotation, shift and scale about the centre, height and width each by its own draw; outside is black."""
    angle = torch.deg2rad(draw.uniform(-degrees, degrees))
    wide, high = draw.uniform(1 - scale, 1 + scale, columns=2).T
    # affine_grid's unit is half the side, so that a shift by a fraction of the side counts twice.
    right, down = 2 * draw.uniform(-shift, shift, columns=2).T
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = torch.stack([cos / wide, -sin / wide, right, sin / high, cos / high, down], 1)
    grid = F.affine_grid(rows.view(-1, 2, 3), [len(x), 1, *x.shape[1:]], align_corners=False)  # (n, H, W, 2)
    return F.grid_sample(x.unsqueeze(1), grid, align_corners=False).squeeze(1)


def brightness_contrast(x: Tensor, draw: Draws, *, limit: float) -> Tensor:
    """Grey values times 1 +- ``limit`` plus +- ``limit`` of white."""
    contrast, brightness = 1 + draw.uniform(-limit, limit), draw.uniform(-limit, limit)
    return x * contrast.view(-1, 1, 1) + brightness.view(-1, 1, 1)


def equalise(x: Tensor, draw: Draws, *, strongest: float, tiles: int) -> Tensor:
    """CLAHE with a clip limit from 1 to ``strongest``, on ``tiles`` x ``tiles`` tiles and 256 grey levels."""
    return clahe(x, tiles=tiles, bins=256, clip=draw.uniform(1, strongest))


def gamma(x: Tensor, draw: Draws, *, low: float, high: float) -> Tensor:
    """Grey values to the power of an exponent from ``low`` to ``high``."""
    return x ** draw.uniform(low, high).view(-1, 1, 1)


def noise(x: Tensor, draw: Draws, *, low: float, high: float) -> Tensor:
    """Normal noise of a standard deviation from ``low`` to ``high`` of white."""
    return x + draw.seed_noise(x) * draw.uniform(low, high).view(-1, 1, 1)


def motion_blur(x: Tensor, draw: Draws) -> Tensor:
    """The mean along a line of 3, 5 or 7 pixels in any direction, about the pixel or to one side of it."""
    reach = 1 + draw.uniform(0, 3).floor()  # (n,) pixels
    angle, lean = draw.uniform(0, 2 * math.pi), draw.uniform(-1, 1)
    start, end = -reach * (1 - lean.clamp_min(0)), reach * (1 + lean.clamp_max(0))
    along = start.view(-1, 1) + (end - start).view(-1, 1) * torch.linspace(0, 1, LONGEST_MOTION, device=x.device)
    aside = draw.uniform(-0.5, 0.5, columns=2) * reach.view(-1, 1)
    direction = torch.stack([torch.sin(angle), torch.cos(angle)], 1)  # (n, 2): down, right
    place = along.unsqueeze(2) * direction.unsqueeze(1) + aside.unsqueeze(1)  # (n, 7, 2)
    cell = place.round().clamp(-reach.view(-1, 1, 1), reach.view(-1, 1, 1)).long() + LONGEST_MOTION // 2
    kernel = torch.zeros(len(x), LONGEST_MOTION**2, device=x.device)
    kernel.scatter_(1, cell[..., 0] * LONGEST_MOTION + cell[..., 1], 1.0)
    kernel = kernel / kernel.sum(1, keepdim=True)
    padded = F.pad(x.unsqueeze(0), (LONGEST_MOTION // 2,) * 4, mode="reflect")  # (1, n, H+6, W+6)
    weight = kernel.view(-1, 1, LONGEST_MOTION, LONGEST_MOTION)
    return F.conv2d(padded, weight, groups=len(x)).squeeze(0)


def median(x: Tensor, _: Draws) -> Tensor:
    """The median of 3 x 3 pixels."""
    padded = F.pad(x.unsqueeze(1), (1, 1, 1, 1), mode="reflect")  # (n, 1, H+2, W+2)
    return padded.unfold(2, 3, 1).unfold(3, 3, 1).flatten(4).median(-1).values.squeeze(1)


def holes(x: Tensor, draw: Draws, *, smallest: float, largest: float) -> Tensor:
    """One or two black rectangles with sides from ``smallest`` to ``largest`` of the film's."""
    _, h, w = x.shape
    y = torch.arange(h, device=x.device).view(1, -1, 1) / h
    z = torch.arange(w, device=x.device).view(1, 1, -1) / w
    second = draw.hit(0.5)
    for present in (torch.ones_like(second), second):
        height, width = draw.uniform(smallest, largest, columns=2).T.view(2, -1, 1, 1)
        top, left = draw.uniform(0, 1, columns=2).T.view(2, -1, 1, 1) * (1 - torch.stack([height, width]))
        inside = (y >= top) & (y < top + height) & (z >= left) & (z < left + width) & present.view(-1, 1, 1)
        x = x.masked_fill(inside, 0.0)
    return x


PAPER = Steps(
    (
        (0.5, partial(affine, degrees=15)),
        (0.5, partial(affine, shift=0.05, scale=0.1)),
        (0.5, partial(brightness_contrast, limit=0.2)),
        (0.3, partial(equalise, strongest=4.0, tiles=8)),
        (0.3, partial(gamma, low=0.8, high=1.2)),
        (0.2, partial(noise, low=0.2, high=0.44)),
        (0.1, motion_blur),
        (0.1, median),
        (0.1, partial(holes, smallest=0.1, largest=0.2)),
    )
)
