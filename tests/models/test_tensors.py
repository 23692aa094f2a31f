"""Grey films to a network's input."""

from __future__ import annotations

import numpy as np
import torch

from hf_pneumo.imaging.preprocess import LUNGS, Preprocess
from hf_pneumo.models.tensors import standardised, to_tensor

PLAIN = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.25, 1.0)}


def test_grey_is_repeated_and_normalised_by_channel():
    x = to_tensor(Preprocess(size=(2, 2), **PLAIN), np.full((1, 2, 2), 255, dtype=np.uint8))
    assert x.shape == (1, 3, 2, 2) and x[0, :, 0, 0].tolist() == [1, 2, 0.5]


def test_cut_films_are_standardised_within_the_lungs():
    gray = torch.tensor([[[0, 51], [102, 0]]], dtype=torch.uint8)
    inside = standardised(gray.float() / 255)
    assert inside[0, 0, 0] == 0 and torch.isclose(inside[0, 0, 1], -inside[0, 1, 0])
    x = to_tensor(Preprocess(size=(2, 2), crop=LUNGS, **PLAIN), gray)
    assert torch.allclose(x[0, 2], inside[0] - 0.5)


def test_flat_lungs_are_not_blown_up():
    assert standardised(torch.full((1, 4, 4), 0.5)).abs().max() == 0
