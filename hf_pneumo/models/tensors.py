"""From grey films to a network's input: the one step of preprocessing that needs torch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hf_pneumo.imaging.preprocess import LUNGS, Preprocess

LEAST_SD = 0.02  # of the grey values in the lungs, in [0, 1]: flatter lungs are not blown up to full contrast


def to_tensor(preprocess: Preprocess, gray: Tensor | np.ndarray) -> Tensor:
    """Films (B, h, w), uint8 or float in [0, 1], to the model's input: float32 (B, 3, h, w), normalised."""
    return normalised(preprocess, scaled(preprocess, gray))


def scaled(preprocess: Preprocess, gray: Tensor | np.ndarray) -> Tensor:
    """Films (B, h, w), uint8 or float in [0, 1], as float32 (B, h, w) in [0, 1], or standardised in their lungs."""
    x = torch.as_tensor(gray)
    x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
    return standardised(x) if preprocess.crop == LUNGS else x


def normalised(preprocess: Preprocess, x: Tensor) -> Tensor:
    """Scaled films (B, h, w) repeated over three channels, by mean and standard deviation: (B, 3, h, w)."""
    mean = torch.tensor(preprocess.mean, device=x.device).view(1, 3, 1, 1)
    std = torch.tensor(preprocess.std, device=x.device).view(1, 3, 1, 1)
    return (x.unsqueeze(1) - mean) / std  # (B, 3, h, w)


def standardised(x: Tensor) -> Tensor:
    """Cut films (B, h, w), 0 outside the lungs: mean 0 and standard deviation 1 inside them, 0 outside as before."""
    inside = x > 0
    count = inside.sum((1, 2), keepdim=True).clamp_min(1)
    centred = torch.where(inside, x - x.sum((1, 2), keepdim=True) / count, torch.zeros_like(x))
    sd = (centred.square().sum((1, 2), keepdim=True) / count).sqrt()
    return centred / sd.clamp_min(LEAST_SD)
