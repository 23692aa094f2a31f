"""Maps of a network that has learnt nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hf_pneumo.evaluation.explanations.sanity_checks import layer_groups, passes, randomisation, randomise


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))


def test_groups_go_from_the_output_to_the_input_and_skip_what_has_no_weights():
    assert layer_groups(network()) == ["2", "0"]


def test_weights_are_drawn_anew_with_their_own_spread():
    model = nn.Sequential(nn.Linear(200, 200))
    before = model[0].weight.detach().clone()
    randomise(model, "0", torch.Generator().manual_seed(0))
    after = model[0].weight.detach()
    assert not torch.equal(before, after) and after.std().item() == pytest.approx(before.std().item(), rel=0.1)


def test_a_map_of_the_weights_falls_apart_and_one_of_the_image_does_not():
    image = np.random.default_rng(0).random((1, 8, 8))

    def of_weights(model: nn.Module) -> np.ndarray:
        return (model[0].weight @ model[2].weight).detach().abs().numpy()[None]

    assert passes(randomisation(of_weights, network())) and not passes(randomisation(lambda _: image, network()))
    with pytest.raises(ValueError, match="constant maps only"):
        randomisation(lambda _: np.zeros((1, 8, 8)), network())
