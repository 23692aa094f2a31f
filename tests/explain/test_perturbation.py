"""Maps by covering parts of the image."""

from __future__ import annotations

import torch
from torch import nn

from hf_pneumo.explain.perturbation import run_occlusion, superpixels


class Corner(nn.Module):
    """Class 1 is the brightness of the upper left quarter."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = self.scale * x[:, :, :8, :8].mean((1, 2, 3))
        return torch.stack([-score, score], 1)


def test_covering_what_the_score_reads_costs_it():
    raw = run_occlusion(Corner(), torch.ones(1, 1, 16, 16), 1, window=4, stride=4, baseline="zero")
    heat = raw.maps[0]
    assert heat[:8, :8].mean() > 0 and heat[8:, 8:].abs().max() < 1e-6


def test_superpixels_cover_the_image():
    image = torch.zeros(1, 32, 32)
    image[:, :, 16:] = 1
    parts = superpixels(image, 4)
    assert parts.shape == (32, 32) and parts.min() == 0 and 1 < len(parts.unique()) <= 16
