"""Where cells look: known geometries, and maps laid accordingly."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from hf_pneumo.explain import cell_offset, explain
from hf_pneumo.explain.explanation import upsample


class Trunk(nn.Module):
    """Three convolutions of stride 2 with positive weights; each output is centred as `padding` says."""

    global_pool = "avg"

    def __init__(self, kernel: int, padding: int):
        super().__init__()
        layers = [nn.Conv2d(1 if i == 0 else 4, 4, kernel, 2, padding) for i in range(3)]
        for layer in layers:
            nn.init.constant_(layer.weight, 0.1)
            nn.init.zeros_(layer.bias)
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(4, 2)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)

    def forward_head(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.mean((2, 3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))


@pytest.mark.parametrize(
    ("kernel", "padding", "expected"),
    [
        (2, 0, 0.0),  # pixels 8i to 8i + 7: an even share
        (3, 1, -3.5),  # centred on pixel 8i, where an even share is centred on 8i + 3.5
    ],
)
def test_the_centre_follows_from_strides_and_padding(kernel, padding, expected):
    images = torch.rand(2, 1, 64, 96, generator=torch.Generator().manual_seed(0)) + 0.5
    assert cell_offset(Trunk(kernel, padding), images) == pytest.approx((expected, expected), abs=0.05)


def test_a_map_is_laid_where_its_cells_look():
    grid = torch.zeros(1, 8, 8)
    grid[0, 3, 5] = 1
    even, moved = upsample(grid, (64, 64)), upsample(grid, (64, 64), (-3.5, 4.5))
    assert torch.allclose(even, upsample(grid, (64, 64), (1e-7, 0.0)), atol=1e-5)
    rows, columns = (torch.arange(64.0) for _ in range(2))
    centre = (moved[0].sum(1) @ rows / moved.sum(), moved[0].sum(0) @ columns / moved.sum())
    assert torch.tensor(centre) == pytest.approx(torch.tensor([24.0, 48.0]), abs=1e-4)


def test_patches_lie_evenly_and_nothing_is_left_behind():
    vit = timm.create_model("test_vit", num_classes=2).eval()
    images = torch.rand(2, 3, 160, 160)
    assert cell_offset(vit, images) == (0.0, 0.0)
    resnet = timm.create_model("test_resnet", num_classes=2).eval()
    down, right = cell_offset(resnet, images)
    assert abs(down) < 32 and abs(right) < 32
    assert not images.requires_grad and all(value.grad is None for value in resnet.parameters())


def test_only_methods_that_read_a_layer_are_moved():
    network = timm.create_model("test_resnet", num_classes=2).eval()
    images = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    for method, moves in (("eigencam", True), ("occlusion", False)):
        plain, moved = (explain(network, images, method=method, target=1, offset=o)[0] for o in ((0, 0), (-9.0, 9.0)))
        assert (plain.grid == moved.grid).all()
        assert (plain.heatmap == moved.heatmap).all() != moves
