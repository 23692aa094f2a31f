"""Tokens to grids and back, for every layout there is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import timm
import torch

from hf_pneumo.models.tokens import grid_size, prefix_tokens, to_maps, tokens_to_maps


def maps_to_tokens(maps: torch.Tensor) -> torch.Tensor:
    """Maps (B, C, gh, gw) as a transformer's patch tokens (B, gh*gw, C), row by row."""
    return maps.flatten(2).transpose(1, 2)


def test_tokens_fill_the_grid_row_by_row():
    tokens = torch.arange(7.0).reshape(1, 7, 1)
    assert tokens_to_maps(tokens, (2, 3), prefix=1)[0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_there_and_back():
    maps = torch.randn(2, 5, 3, 4)
    assert torch.equal(tokens_to_maps(maps_to_tokens(maps), (3, 4)), maps)


def test_a_wrong_count_is_refused():
    with pytest.raises(ValueError, match="`tokens` has 9 tokens, but 1 prefix tokens and a grid of 2x3 make 7"):
        tokens_to_maps(torch.zeros(1, 9, 4), (2, 3), prefix=1)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("vit_base_patch16_siglip_gap_224", 0),
        ("vit_tiny_patch16_224", 1),
        ("deit_tiny_distilled_patch16_224", 2),
        ("vit_small_patch14_reg4_dinov2", 5),
        ("pit_ti_224", 1),
        ("pit_ti_distilled_224", 2),
        ("resnet18", 0),
    ],
)
def test_prefix_tokens_of_real_networks(name, count):
    small = {} if name.startswith(("pit", "resnet")) else {"depth": 1, "embed_dim": 24, "num_heads": 2}
    assert prefix_tokens(timm.create_model(name, **small)) == count


def test_the_patch_embedding_is_asked_first():
    network = timm.create_model("vit_tiny_patch16_224", depth=1, img_size=64, dynamic_img_size=True)
    assert grid_size(network, (64, 64), 16) == (4, 4)
    assert grid_size(network, (32, 128), 16) == (2, 8)


@pytest.mark.parametrize(
    ("image", "tokens", "grid"),
    [((224, 224), 49, (7, 7)), ((256, 192), 48, (8, 6)), ((64, 96), 6, (2, 3)), ((1, 1), 1, (1, 1))],
)
def test_else_the_images_aspect_ratio_decides(image, tokens, grid):
    assert grid_size(SimpleNamespace(), image, tokens) == grid


def test_tokens_that_form_no_grid_are_refused():
    with pytest.raises(ValueError, match="7 patch tokens form no grid"):
        grid_size(SimpleNamespace(), (224, 224), 7)


def test_layouts_come_out_alike():
    maps = torch.randn(2, 8, 3, 4)
    network = SimpleNamespace(num_features=8, num_prefix_tokens=1)
    size = (30, 40)
    tokens = torch.cat([torch.zeros(2, 1, 8), maps_to_tokens(maps)], 1)
    for features in (maps, maps.permute(0, 2, 3, 1), tokens):
        assert torch.equal(to_maps(features, network, size), maps)


def test_the_declared_layout_holds_for_inner_layers():
    inner = torch.randn(1, 6, 6, 4)
    assert to_maps(inner, SimpleNamespace(num_features=8, output_fmt="NHWC"), (24, 24)).shape == (1, 4, 6, 6)
    assert to_maps(inner.permute(0, 3, 1, 2), SimpleNamespace(num_features=8), (24, 24)).shape == (1, 4, 6, 6)


def test_stages_without_the_networks_prefix_tokens_are_seen():
    network = SimpleNamespace(num_prefix_tokens=1)
    assert to_maps(torch.zeros(1, 16, 5), network, (64, 64)).shape == (1, 5, 4, 4)


def test_features_without_places_are_refused():
    network = SimpleNamespace(num_prefix_tokens=1)
    with pytest.raises(ValueError, match="before the global pooling"):
        to_maps(torch.zeros(2, 8), network, (64, 64))
    with pytest.raises(ValueError, match="only the 1 prefix tokens"):
        to_maps(torch.zeros(2, 1, 8), network, (64, 64))
