"""The segmenter's loss by hand, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hf_pneumo.segmentation.fit import Schedule, fit_segmenter, loss
from hf_pneumo.segmentation.network import LungUNet
from hf_pneumo.segmentation.samples import drawn_phantoms


def test_it_learns():
    samples = drawn_phantoms(4, 1)
    torch.manual_seed(0)
    network = LungUNet()
    losses = []
    fit_segmenter(network, samples, Schedule(steps=30, batch=4), lambda line: losses.append(line["loss"]))
    assert np.mean(losses[-5:]) < 0.8 * losses[0]


def test_the_loss_by_hand():
    target = torch.zeros(1, 1, 160, 160)
    target[..., :80] = 1
    right = torch.where(target[..., ::2, ::2] > 0, 30.0, -30.0)
    assert loss(right, target, torch.ones_like(target)) < 0.02
    assert loss(-right, target, torch.ones_like(target)) > 10
    assert loss(-right, target, torch.zeros_like(target)) == pytest.approx(0.0, abs=1e-6)  # nothing is trusted
    empty = torch.zeros_like(target)
    assert loss(torch.zeros(1, 1, 80, 80), empty, torch.ones_like(target)) == pytest.approx(np.log(2), abs=1e-4)
