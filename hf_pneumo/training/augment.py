"""Augmentation of whole batches as tensors, on the device that trains.

Every film of a batch gets its own draw; all draws come from one explicit CPU generator, so that a batch is the same on
any device and after any resume. Policies are data (:data:`POLICIES`): a new one is a new row, not new code. A
:class:`Policy` changes every film a little; `augment_steps.Steps` change some films each.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hf_pneumo.training.augment_steps import PAPER, Steps
from hf_pneumo.training.film_operations import Draws, clahe

CHUNK = 256  # films that are augmented at once where all of a set are


@dataclass(frozen=True)
class Policy:
    """How strongly a batch is changed. Zero switches an operation off.

    Geometry: ``rotate`` and ``shear`` in degrees (uniform, both ways), ``shift`` and ``scale`` as fractions of the
    side, ``flip`` a probability. Intensity on the [0, 1] scale: ``brightness`` (added), ``contrast`` (relative to the
    film's mean), ``gamma`` (exponent drawn log-uniformly from 1/(1+gamma) to 1+gamma), ``noise`` (largest standard
    deviation). Texture, each a probability: ``clahe``, ``blur`` (Gaussian, sigma up to 1.5 pixels), ``resample``
    (down to 45-90 % of the side and back), ``sharpen`` (unsharp mask). ``erase``: probability that one rectangle of
    2-15 % of the area becomes the film's mean; ``erasures``: how many such rectangles are drawn. ``frame``: probability
    that the outer 2-8 % becomes one grey. ``stretch``: height over width changes by up to this share, both ways.
    ``borrow``, for films that are cut to their lungs alone: probability that a film is cut once more, to the lungs of
    another one. Where such a film's lungs lie tells nothing then: an opacity that a segmenter left out, and with it a
    part of the lung, is as common among the healthy.
    """

    rotate: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    flip: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    clahe: float = 0.0
    blur: float = 0.0
    resample: float = 0.0
    sharpen: float = 0.0
    erase: float = 0.0
    frame: float = 0.0
    erasures: int = 1
    stretch: float = 0.0
    borrow: float = 0.0


POLICIES: dict[str, Policy | Steps] = {
    "none": Policy(),
    "paper": PAPER,  # arXiv 2511.00456, as its code has it
    # The same kinds of change as "paper", milder and on every film.
    "light": Policy(
        rotate=15,
        shift=0.05,
        scale=0.10,
        brightness=0.1,
        contrast=0.2,
        gamma=0.2,
        noise=0.02,
        clahe=0.2,
        blur=0.2,
        erase=0.2,
    ),  # fmt: skip
    # The Fordham report: rotation 20, zoom, shift 20 %, shear 10 %, horizontal flip.
    "geometric": Policy(rotate=20, shift=0.20, scale=0.20, shear=5.7, flip=0.5),
    # What differs between hospitals and batches, not between lungs: exposure, contrast curve, sharpness, frame.
    "robust": Policy(
        rotate=10,
        shift=0.06,
        scale=0.12,
        shear=3,
        brightness=0.15,
        contrast=0.4,
        gamma=0.6,
        noise=0.03,
        clahe=0.15,
        blur=0.4,
        resample=0.4,
        sharpen=0.25,
        erase=0.15,
        frame=0.3,
    ),  # fmt: skip
    # Films that are cut to their lungs and standardised inside them: place, shape, contrast curve, parts hidden.
    "lungs": Policy(
        rotate=10,
        shift=0.03,
        scale=0.10,
        stretch=0.10,
        flip=0.5,
        gamma=0.3,
        noise=0.01,
        erase=0.4,
        erasures=2,
        borrow=0.3,
    ),  # fmt: skip
}


def policy_named(name: str) -> Policy | Steps:
    """The policy called ``name``; ValueError names the valid ones."""
    if name not in POLICIES:
        raise ValueError(f"`augment` is {name!r}; choose one of {', '.join(POLICIES)}")
    return POLICIES[name]


def augmented(images: Tensor, policy: Policy | Steps, generator: torch.Generator, *, cut: bool = False) -> Tensor:
    """Augment grey films ``images`` (B, H, W), uint8 or float in [0, 1]; returns float32 (B, H, W) in [0, 1].

    ``generator`` is a CPU generator; the draws do not depend on the device of ``images``. ``cut``: the films are cut to
    their lungs, 0 outside, and stay so: above 0 inside, and what is erased is 0.
    """
    x = images.float() / 255 if images.dtype == torch.uint8 else images.float()
    if isinstance(policy, Steps):
        return policy.apply(x, generator)
    if not any(asdict(policy).values()):
        return x
    draw = Draws(len(x), x.device, generator)
    if cut:
        return _augment_cut(x, policy, draw)
    x = _geometry(x, policy, draw)
    x = _texture(x, policy, draw)
    x = _intensity(x, policy, draw)
    return _occlusion(x, policy, draw).clamp_(0, 1)


def augmented_views(
    gray: np.ndarray, policy: Policy | Steps, count: int, seed: int, *, cut: bool = False
) -> list[np.ndarray]:
    """``count`` augmented copies of all films ``gray`` uint8 (N, h, w), each uint8 (N, h, w), drawn from ``seed``."""
    generator = torch.Generator().manual_seed(seed)
    films = torch.from_numpy(gray).split(CHUNK)
    copies = [[augmented(part, policy, generator, cut=cut) for part in films] for _ in range(count)]
    return [(torch.cat(parts) * 255).round().to(torch.uint8).numpy() for parts in copies]


def _augment_cut(x: Tensor, policy: Policy, draw: Draws) -> Tensor:
    """:func:`augmented` of films that are 0 outside their lungs: the mask goes with the film, and has the last word."""
    both = _geometry(torch.stack([x, (x > 0).to(x)], 1), policy, draw)  # (B, 2, H, W)
    inside = both[:, 1] > 0.5
    x = torch.where(inside, both[:, 0] / both[:, 1].clamp_min(0.5), both[:, 0])  # black from outside is taken off again
    x = _intensity(_texture(x, policy, draw), policy, draw)
    if policy.borrow:
        inside = inside & ~(draw.hit(policy.borrow).view(-1, 1, 1) & ~inside.roll(1, 0))
    if policy.erase:
        inside = inside & ~_rectangles(x, policy, draw)
    return torch.where(inside, x.clamp(1 / 255, 1), torch.zeros_like(x))


def _geometry(x: Tensor, policy: Policy, draw: Draws) -> Tensor:
    """One affine resampling per film (B, ..., H, W): rotation, shear, scale, stretch, shift, flip; outside is black."""
    if not (policy.stretch or policy.rotate or policy.shift or policy.scale or policy.shear or policy.flip):
        return x
    angle = torch.deg2rad(draw.uniform(-policy.rotate, policy.rotate))
    shear = torch.tan(torch.deg2rad(draw.uniform(-policy.shear, policy.shear)))
    scale = draw.uniform(1 - policy.scale, 1 + policy.scale)
    mirror = torch.where(draw.hit(policy.flip), -1.0, 1.0)
    # affine_grid's unit is half the side, so that a shift by a fraction of the side counts twice.
    shift = 2 * draw.uniform(-policy.shift, policy.shift, columns=2)
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    rows = torch.stack([cos * mirror, -sin + shear * cos, shift[:, 0], sin * mirror, cos + shear * sin, shift[:, 1]], 1)
    rows = rows.view(-1, 2, 3)
    if policy.stretch:
        log = math.log1p(policy.stretch) / 2
        aspect = torch.exp(draw.uniform(-log, log))
        rows = rows * torch.stack([aspect, 1 / aspect], 1).unsqueeze(2)
    channels = x.view(len(x), -1, *x.shape[-2:])
    grid = F.affine_grid(rows, channels.shape, align_corners=False)  # (B, H, W, 2)
    return F.grid_sample(channels, grid, align_corners=False).view_as(x)


def _texture(x: Tensor, policy: Policy, draw: Draws) -> Tensor:
    """Sharpness and local contrast: what scanners, resizing and JPEG change, and disease does not."""
    if policy.resample:
        hit = draw.hit(policy.resample)
        factor = float(draw.uniform(0.45, 0.9)[0])  # one factor a batch: a resize needs one size
        small = F.interpolate(x[hit].unsqueeze(1), scale_factor=factor, mode="bilinear", antialias=True)
        x = x.masked_scatter(
            hit.view(-1, 1, 1), F.interpolate(small, size=x.shape[1:], mode="bilinear", antialias=True).squeeze(1)
        ) if len(small) else x  # fmt: skip
    if policy.blur:
        amount = draw.hit(policy.blur) * draw.uniform(0.3, 1.5)
        x = _gaussian(x, amount)
    if policy.sharpen:
        amount = (draw.hit(policy.sharpen) * draw.uniform(0.3, 1.5)).view(-1, 1, 1)
        x = x + amount * (x - _gaussian(x, torch.ones(len(x), device=x.device)))
    if policy.clahe:
        hit = draw.hit(policy.clahe)
        if hit.any():
            x = x.masked_scatter(hit.view(-1, 1, 1), clahe(x[hit].clamp(0, 1)))
    return x


def _gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    """Blur each film of (B, H, W) by its own ``sigma`` (B,) in pixels; sigma 0 leaves a film as it is."""
    radius = 4  # covers 2.7 sigma at the largest sigma used here
    offset = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (offset / sigma.clamp_min(1e-3).view(-1, 1)) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)  # (B, 9)
    n = len(x)
    padded = F.pad(x.unsqueeze(0), (radius,) * 4, mode="replicate")  # (1, B, H+8, W+8)
    rows = F.conv2d(padded, kernel.view(n, 1, 1, -1), groups=n)
    return F.conv2d(rows, kernel.view(n, 1, -1, 1), groups=n).squeeze(0)  # (B, H, W)


def _intensity(x: Tensor, policy: Policy, draw: Draws) -> Tensor:
    """Exposure: gamma, then contrast about the film's mean, then brightness, then noise."""
    view = (-1, 1, 1)
    if policy.gamma:
        log = torch.log(torch.tensor(1 + policy.gamma)).item()
        x = x.clamp_min(1e-4) ** torch.exp(draw.uniform(-log, log)).view(view)
    if policy.contrast:
        mean = x.mean((1, 2), keepdim=True)
        x = mean + (x - mean) * draw.uniform(1 - policy.contrast, 1 + policy.contrast).view(view)
    if policy.brightness:
        x = x + draw.uniform(-policy.brightness, policy.brightness).view(view)
    if policy.noise:
        x = x + draw.seed_noise(x) * draw.uniform(0, policy.noise).view(view)
    return x


def _occlusion(x: Tensor, policy: Policy, draw: Draws) -> Tensor:
    """Rectangles and frames: no single place, and above all not the border, may carry the answer."""
    if policy.erase:
        x = torch.where(_rectangles(x, policy, draw), x.mean((1, 2), keepdim=True), x)
    if policy.frame:
        y, z = _places(x)
        width = (draw.hit(policy.frame) * draw.uniform(0.02, 0.08)).view(-1, 1, 1)
        outside = (y < width) | (y >= 1 - width) | (z < width) | (z >= 1 - width)
        x = torch.where(outside & (width > 0), draw.uniform(0, 0.6).view(-1, 1, 1), x)
    return x


def _rectangles(x: Tensor, policy: Policy, draw: Draws) -> Tensor:
    """What is erased of films (B, H, W): bool (B, H, W), ``policy.erasures`` rectangles of 2-15 % of the area each."""
    y, z = _places(x)
    erased = torch.zeros_like(x, dtype=torch.bool)
    for _ in range(policy.erasures):
        side = draw.uniform(0.15, 0.4, columns=2)
        corner = draw.uniform(0, 1, columns=2) * (1 - side)
        (top, left), (height, width) = corner.T.view(2, -1, 1, 1), side.T.view(2, -1, 1, 1)
        inside = (y >= top) & (y < top + height) & (z >= left) & (z < left + width)
        erased = erased | (inside & draw.hit(policy.erase).view(-1, 1, 1))
    return erased


def _places(x: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of every pixel as shares of the sides: (1, H, 1) and (1, 1, W), from 0 to below 1."""
    _, h, w = x.shape
    return torch.arange(h, device=x.device).view(1, -1, 1) / h, torch.arange(w, device=x.device).view(1, 1, -1) / w
