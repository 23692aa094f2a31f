"""What a film may look like otherwise, whole batches at a time: white lungs, other patients, other machines."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_pneumo.imaging.lungs import FLATTEST, SIDE

PAINTED, WHITE_SIDE = 0.5, 0.3  # shares of films with painted opacities; of these with one side white, or its base
BASE_EDGE = 0.03  # share of the film over which a white base fades upwards
TURN, SCALE, SHIFT, SHEAR = 12.0, (0.8, 1.25), 0.08, 0.08  # degrees; factor per axis; share of the film; factor
GAMMA, NOISE, BLURRED = (0.6, 1.7), 0.12, 0.3  # exponent; largest sd, in sd of the film; share of films
BURNT_IN = 0.3  # share of films with a bright or dark rectangle, as of letters, shutters and pads


def augmented(
    films: Tensor, lungs: Tensor, trusted: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Films (B, 1, S, S) in [0, 1], masks and trust (B, 1, S, S) in {0, 1} to standardised films and masks at SIDE."""
    films = _opacities(films, lungs, generator)
    films = _burnt_in(films, generator)
    films, lungs, trusted = _moved(films, lungs, trusted, generator)
    films = _exposed(films, generator)
    return standardised(films), lungs, trusted


def standardised(films: Tensor) -> Tensor:
    """Films (B, 1, S, S) in [0, 1] as `imaging.lungs.standardised` does it one by one."""
    mean = films.mean((2, 3), keepdim=True)
    return (films - mean) / (films.std((2, 3), keepdim=True, correction=0) + FLATTEST / 255)


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _chosen(films: Tensor, share: float, generator: torch.Generator) -> Tensor:
    return (torch.rand((len(films), 1, 1, 1), generator=generator) < share).float()


def _opacities(films: Tensor, lungs: Tensor, generator: torch.Generator) -> Tensor:
    """Patches within the lungs, or one side from some height down, blended towards the grey of what surrounds them."""
    count, size = len(films), films.shape[-1]
    cells = int(torch.randint(3, 9, (1,), generator=generator))
    field = torch.randn((count, 1, cells, cells), generator=generator)
    field = F.interpolate(field, size=size, mode="bicubic", align_corners=False)
    patches = torch.sigmoid(6 * (field - _uniform((count, 1, 1, 1), -0.6, 1.2, generator)))
    right = (torch.arange(size) >= size // 2).float().view(1, 1, 1, size)
    side = torch.where(torch.rand((count, 1, 1, 1), generator=generator) < 0.5, right, 1 - right)
    rows = torch.linspace(0, 1, size).view(1, 1, size, 1)
    side = side * torch.sigmoid((rows - _uniform((count, 1, 1, 1), -0.2, 0.75, generator)) / BASE_EDGE)
    patches = torch.where(_chosen(films, WHITE_SIDE, generator) > 0, side, patches)
    soft = F.avg_pool2d(lungs, 7, stride=1, padding=3) * lungs
    outside = (films * (1 - lungs)).sum((2, 3), keepdim=True) / (1 - lungs).sum((2, 3), keepdim=True).clamp(min=1)
    spread = films.std((2, 3), keepdim=True)
    white = outside + spread * _uniform((count, 1, 1, 1), 0.0, 1.0, generator)
    strength = _uniform((count, 1, 1, 1), 0.3, 1.0, generator) * _chosen(films, PAINTED, generator)
    blend = strength * patches * soft
    return (films * (1 - blend) + torch.maximum(white, films) * blend).clamp(0, 1)


def _burnt_in(films: Tensor, generator: torch.Generator) -> Tensor:
    """A rectangle of one grey near the rim of some films."""
    films = films.clone()
    size = films.shape[-1]
    for film in films:
        if torch.rand((), generator=generator) < BURNT_IN:
            height, width = torch.randint(2, size // 6, (2,), generator=generator).tolist()
            top = int(torch.randint(0, size - height, (), generator=generator))
            left = int(torch.randint(0, size // 12, (), generator=generator))
            left = size - width - left if torch.rand((), generator=generator) < 0.5 else left
            film[:, top : top + height, left : left + width] = torch.rand((), generator=generator)
    return films


def _moved(films: Tensor, lungs: Tensor, trusted: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Turned, scaled along each axis, shifted, sheared, mirrored; black or the film's rim beyond its edge."""
    count = len(films)
    angle = _uniform((count,), -math.radians(TURN), math.radians(TURN), generator)
    scale = torch.exp(_uniform((count, 2), math.log(SCALE[0]), math.log(SCALE[1]), generator))
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    shear = _uniform((count,), -SHEAR, SHEAR, generator)
    shift = _uniform((count, 2), -2 * SHIFT, 2 * SHIFT, generator)
    cos, sin = angle.cos(), angle.sin()
    theta = torch.stack(
        [
            torch.stack([scale[:, 0] * cos * mirror, scale[:, 0] * (shear - sin), shift[:, 0]], 1),
            torch.stack([scale[:, 1] * sin * mirror, scale[:, 1] * cos, shift[:, 1]], 1),
        ],
        1,
    )  # (B, 2, 3)
    grid = F.affine_grid(theta, (count, 1, SIDE, SIDE), align_corners=False)
    padding = "zeros" if torch.rand((), generator=generator) < 0.5 else "border"
    films = F.grid_sample(films, grid, padding_mode=padding, align_corners=False)
    both = F.grid_sample(torch.cat([lungs, trusted], 1), grid, padding_mode="zeros", align_corners=False)
    beyond = F.grid_sample(torch.ones_like(trusted), grid, padding_mode="zeros", align_corners=False) < 0.5
    return films, both[:, :1], torch.where(beyond, 1.0, (both[:, 1:] > 0.5).float())


def _exposed(films: Tensor, generator: torch.Generator) -> Tensor:
    """Another film curve, grain, and some films out of focus."""
    count = len(films)
    low, high = films.amin((2, 3), keepdim=True), films.amax((2, 3), keepdim=True)
    exponent = torch.exp(_uniform((count, 1, 1, 1), math.log(GAMMA[0]), math.log(GAMMA[1]), generator))
    spread = (high - low).clamp(min=1e-3)
    films = low + spread * ((films - low) / spread).clamp(0, 1) ** exponent
    blurred = F.avg_pool2d(films, 3, stride=1, padding=1, count_include_pad=False)
    films = torch.lerp(films, blurred, _chosen(films, BLURRED, generator))
    level = _uniform((count, 1, 1, 1), 0, NOISE, generator) * films.std((2, 3), keepdim=True)
    return films + level * torch.randn(films.shape, generator=generator)
