"""Networks small enough to be worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn


class Toy(nn.Module):
    """Maps are the image itself times `mix`; each logit is a weighted sum of the maps' cells (its gradient is
    `rule`)."""

    def __init__(self, mix: torch.Tensor, rule: torch.Tensor) -> None:
        super().__init__()
        self.mix = nn.Conv2d(mix.shape[1], mix.shape[0], 1, bias=False)
        self.mix.weight.data = mix[:, :, None, None].clone()
        self.rule = nn.Parameter(rule.clone())  # (K, C, gh, gw)
        self.num_features = mix.shape[0]

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(x)

    def forward_head(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bchw,kchw->bk", maps, self.rule)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))


class Patches(nn.Module):
    """A patch embedding of 4 x 4 pixels, ReLU, global average pooling and a linear head, as plain CAM wants it."""

    def __init__(self, classes: int = 2, channels: int = 6) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, channels, 4, 4)
        self.act = nn.ReLU(inplace=True)
        self.fc = nn.Linear(channels, classes)
        self.num_features = channels

    def get_classifier(self) -> nn.Linear:
        return self.fc

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.embed(x))

    def forward_head(self, maps: torch.Tensor) -> torch.Tensor:
        return self.fc(maps.mean((2, 3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))


@pytest.fixture
def toy() -> Toy:
    """Two channels on a 2 x 2 grid; the maps are the image's channels; two logits."""
    rule = torch.tensor(
        [[[[1.0, 2.0], [3.0, 4.0]], [[-1.0, 0.0], [0.0, -1.0]]], [[[0.0, 1.0], [0.0, 0.0]], [[2.0, 2.0], [2.0, 2.0]]]]
    )
    return Toy(torch.eye(2), rule).eval()


@pytest.fixture
def toy_image() -> torch.Tensor:
    return torch.tensor([[[[1.0, 0.0], [2.0, 1.0]], [[0.0, 3.0], [1.0, 0.0]]]])


@pytest.fixture
def patches() -> Patches:
    torch.manual_seed(0)
    network = Patches().eval()
    network.pretrained_cfg = {"label_names": ("NORMAL", "PNEUMONIA")}
    return network


@pytest.fixture
def make_patches():
    """Patches with another number of classes."""

    def make(classes: int, names: tuple[str, ...] | None = None) -> Patches:
        torch.manual_seed(0)
        network = Patches(classes).eval()
        if names:
            network.pretrained_cfg = {"label_names": names}
        return network

    return make
