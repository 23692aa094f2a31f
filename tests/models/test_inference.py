"""Logits of films: every film once, in order."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.inference import answer, predict_logits, resized


class LeftMean(nn.Module):
    """Logit 0 is the mean of the left half, logit 1 of the right."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = x.shape[-1] // 2
        return self.scale * torch.stack([x[..., :half].mean((1, 2, 3)), x[..., half:].mean((1, 2, 3))], 1)


def test_films_keep_their_order_whatever_the_batch():
    gray = np.repeat(np.arange(0, 250, 50, dtype=np.uint8), 64).reshape(5, 8, 8)
    spec = Preprocess(size=(8, 8))
    network = LeftMean().train()
    logits = predict_logits(network, gray, spec, batch_size=2)
    assert logits.shape == (5, 2) and (np.diff(logits[:, 0]) > 0).all() and network.training
    np.testing.assert_allclose(logits, predict_logits(network, gray, spec, batch_size=5), atol=1e-6)


def test_the_mirrored_answer_is_the_mean_of_both():
    x = torch.zeros(1, 1, 2, 4)
    x[..., :2] = 1
    assert answer(LeftMean(), x).tolist() == [[1, 0]] and answer(LeftMean(), x, mirror=True).tolist() == [[0.5, 0.5]]


def test_films_are_resized_without_a_shift():
    films = torch.full((2, 8, 8), 0.25)
    assert torch.allclose(resized(films, 4), torch.full((2, 4, 4), 0.25))
