"""Where cells look: known geometries, and maps laid accordingly."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from hf_pneumo.explain import cell_offset, explain
from hf_pneumo.explain.raw_maps import upsample


class Trunk(nn.Module):
    """Three convolutions of stride 2 with positive weights, so that each output is centred as `padding` says; class 1
    speaks for what is bright. With ``above`` a fourth lets a cell answer for the cell above it."""

    global_pool = "avg"

    def __init__(self, kernel: int, padding: int, *, above: bool = False):
        super().__init__()
        layers = [nn.Conv2d(1 if i == 0 else 4, 4, kernel, 2, padding) for i in range(3)]
        layers += [nn.Conv2d(4, 4, 3, 1, 1)] if above else []
        for layer in layers:
            nn.init.constant_(layer.weight, 0.1)
            nn.init.zeros_(layer.bias)
        if above:
            kept = torch.zeros(3, 3)
            kept[0, 1] = 1
            layers[-1].weight.data *= kept
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(4, 2)
        self.head.weight.data = torch.tensor([[-1.0], [1.0]]).expand(2, 4).clone()

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)

    def forward_head(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.mean((2, 3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))


def blobs(count: int = 12) -> torch.Tensor:
    """Dim noise (count, 1, 64, 96) with one bright square each, away from the border."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 1, 64, 96, generator=generator) * 0.1
    for image in images:
        top, left = (int(torch.randint(16, side - 32, (), generator=generator)) for side in (64, 96))
        image[:, top : top + 12, left : left + 12] = 1
    return images


@pytest.mark.parametrize(
    ("trunk", "expected"),
    [
        (Trunk(2, 0), (0.0, 0.0)),  # pixels 8i to 8i + 7: an even share
        (Trunk(3, 1), (-3.5, -3.5)),  # centred on pixel 8i, where an even share is centred on 8i + 3.5
        (Trunk(2, 0, above=True), (-8.0, 0.0)),  # one cell of 8 pixels
    ],
)
def test_the_centre_follows_from_what_a_cell_sees(trunk, expected):
    assert cell_offset(trunk, blobs(), 1) == pytest.approx(expected, abs=0.05)


def test_the_target_says_which_cells_are_asked():
    """Each film's own where it is a list, also over more films than are taken at a time."""
    trunk, images = Trunk(2, 0), blobs()
    trunk.body[2].weight.data[:, :, 0] *= torch.linspace(1, 3, 4)[:, None, None]  # channels look up by different shares
    trunk.head.weight.data = torch.randn(2, 4, generator=torch.Generator().manual_seed(1))
    each = [cell_offset(trunk, image[None], i % 2) for i, image in enumerate(images)]
    together = cell_offset(trunk, images, [i % 2 for i in range(len(images))])
    assert together == pytest.approx(torch.tensor(each).mean(0).tolist(), abs=1e-3)
    assert cell_offset(trunk, images, 0) != pytest.approx(cell_offset(trunk, images, 1), abs=0.1)


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
    assert abs(down) < 160 and abs(right) < 160
    assert not images.requires_grad and all(value.grad is None for value in resnet.parameters())


def test_only_methods_that_read_a_layer_are_moved():
    network = timm.create_model("test_resnet", num_classes=2).eval()
    images = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    for method, moves in (("eigencam", True), ("occlusion", False)):
        plain, moved = (explain(network, images, method=method, target=1, offset=o)[0] for o in ((0, 0), (-9.0, 9.0)))
        assert (plain.grid == moved.grid).all()
        assert (plain.heatmap == moved.heatmap).all() != moves


class TwoStrides(nn.Module):
    """Two strided 3 x 3 means, padded evenly, and the share of what they give as the logit of class 1."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(k, 1, 3, stride=2, padding=1, bias=False) for k in (3, 1))
        for layer in (self.first, self.second):
            nn.init.constant_(layer.weight, 1 / layer.weight.numel())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.second(self.first(x)).mean((1, 2, 3))
        return torch.stack([-found, found], 1)


def test_cells_of_another_layer_are_measured_where_strided_padding_puts_them():
    images = torch.rand(4, 3, 48, 48, generator=torch.Generator().manual_seed(0)) * 0.1
    images[:, :, 20:28, 20:28] += 1  # the hottest cell is in the middle, away from the padding
    # Cell i is centred on pixel 4 i, not on the middle of its even share, 4 i + 1.5.
    assert cell_offset(TwoStrides(), images, 1, layer="second") == pytest.approx((-1.5, -1.5), abs=1e-3)
