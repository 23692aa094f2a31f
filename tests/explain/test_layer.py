"""The layer whose maps are read, by a network's structure."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from hf_pneumo.explain.layer import default_layer, named_layer, run_from


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return timm.create_model("test_resnet", num_classes=2).eval()


def test_the_last_map_of_a_network_is_the_place(network):
    place = default_layer(network)
    assert place.seam and place.name == "layer4"


def test_a_stride_and_a_name_are_places_too(network):
    assert named_layer(network, "stride16").name == "layer3" and not named_layer(network, "layer2.0").seam
    with pytest.raises(ValueError, match="'layer2.9' is no module of this ResNet; near it are layer2"):
        named_layer(network, "layer2.9")
    with pytest.raises(ValueError, match="has stride"):
        named_layer(network, "stride7")


def test_what_is_no_timm_network_is_told_to_name_a_layer():
    with pytest.raises(ValueError, match="pass `layer`"):
        default_layer(nn.Linear(2, 2))


def test_the_pass_from_a_layer_gives_the_networks_own_logits(network):
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(images)
    for place in (default_layer(network), named_layer(network, "layer3")):
        logits, output = run_from(network, images, place)
        torch.testing.assert_close(logits.detach(), expected)
        assert output.ndim == 4 and output.requires_grad
