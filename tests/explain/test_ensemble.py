"""One explanation of several networks."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch

from hf_pneumo.explain import explain
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.ensemble import Ensemble
from hf_pneumo.models.member import Member

PLAIN = {"mean": (0.5,) * 3, "std": (0.5,) * 3}


def test_the_map_is_the_weighted_mean_of_the_members():
    torch.manual_seed(0)
    networks = [timm.create_model("test_resnet", num_classes=2).eval() for _ in range(2)]
    members = [Member(str(i), "test_resnet", weight, 1.0, **PLAIN) for i, weight in enumerate((0.25, 0.75))]
    both = Ensemble(networks, members, Preprocess(size=(64, 64), **PLAIN)).eval()
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    (together,) = explain(both, images, target=1)
    alone = [explain(network, images, target=1)[0] for network in networks]
    mean = 0.25 * alone[0].heatmap + 0.75 * alone[1].heatmap
    np.testing.assert_allclose(together.heatmap, mean / mean.max(), atol=1e-4)
    assert together.logits == pytest.approx(0.25 * alone[0].logits + 0.75 * alone[1].logits, abs=1e-4)
