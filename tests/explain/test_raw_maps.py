"""Raw maps to heatmaps, by hand."""

from __future__ import annotations

import pytest
import torch

from hf_pneumo.explain.raw_maps import RawMaps, interpolation_matrix, is_constant, make_explanations, scale, upsample
from hf_pneumo.explain.target import Targets


def test_a_map_is_interpolated_between_the_centres_of_its_cells():
    up = upsample(torch.tensor([[[0.0, 1.0]]]), (1, 4))
    assert up.flatten().tolist() == [0, 0.25, 0.75, 1]
    assert torch.equal(upsample(up, (1, 4)), up)


def test_cells_that_look_aside_move_the_map():
    even, aside = interpolation_matrix(8, 2, 0.0), interpolation_matrix(8, 2, 2.0)
    assert torch.allclose(even.sum(1), torch.ones(8)) and torch.allclose(aside.sum(1), torch.ones(8))
    assert (aside[:, 1] <= even[:, 1]).all()


def test_each_map_is_scaled_by_itself():
    assert scale(torch.tensor([[[0.0, 2.0]], [[1.0, 4.0]]])).tolist() == [[[0, 1]], [[0.25, 1]]]
    assert scale(torch.tensor([[[-1.0, 3.0]]]), signed=True).tolist() == [[[0, 1]]]


def test_a_constant_map_is_told_and_shows_nothing():
    maps = torch.tensor([[[3.0, 3.0]], [[0.0, 1.0]]])
    assert is_constant(maps).tolist() == [True, False]
    targets = Targets(torch.eye(2), ("A", "B"))
    flat, shown = make_explanations(RawMaps(maps, torch.zeros(2, 2), targets, "layer"), (2, 4), "gradcam")
    assert flat.constant and not flat.heatmap.any() and not shown.constant
    assert shown.heatmap.shape == (2, 4) and shown.heatmap.max() == pytest.approx(1) and shown.target == "B"
