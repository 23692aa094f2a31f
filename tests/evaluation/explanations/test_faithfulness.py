"""Faithfulness metrics on a score that is known: the mean brightness of one square."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from scipy import ndimage
from torch import nn

from hf_pneumo.evaluation.explanations import faithfulness as faith
from hf_pneumo.evaluation.explanations import road, sanity_checks
from hf_pneumo.explain import explain

SIZE = 20
INSIDE = np.zeros((SIZE, SIZE), dtype=bool)
INSIDE[5:10, 5:15] = True  # an eighth of the image


def score(images: torch.Tensor) -> torch.Tensor:
    return images[:, :, torch.from_numpy(INSIDE)].mean((1, 2))


@pytest.fixture
def image() -> torch.Tensor:
    return torch.ones(3, SIZE, SIZE)


RIGHT = INSIDE.astype(np.float32)
WRONG = 1 - RIGHT


def test_deletion_of_the_right_pixels_falls_at_once(image):
    area, curve = faith.deletion(score, image, RIGHT, torch.zeros_like(image), steps=8)
    assert curve == pytest.approx([1] + [0] * 8, abs=1e-6)
    assert area == pytest.approx(1 / 16)
    area, curve = faith.deletion(score, image, WRONG, torch.zeros_like(image), steps=8)
    assert curve == pytest.approx([1] * 8 + [0], abs=1e-6)
    assert area == pytest.approx(15 / 16)


def test_insertion_of_the_right_pixels_rises_at_once(image):
    area, curve = faith.insertion(score, image, RIGHT, torch.zeros_like(image), steps=8)
    assert curve == pytest.approx([0] + [1] * 8, abs=1e-6)
    assert area == pytest.approx(15 / 16)


def test_batches_do_not_show(image):
    noise = np.random.default_rng(0).random((SIZE, SIZE))
    curves = [faith.deletion(score, image, noise, image * 0, batch_size=size)[1] for size in (3, 64)]
    assert curves[0] == pytest.approx(curves[1])


def test_road_prefers_the_right_map():
    image = torch.zeros(1, SIZE, SIZE)
    image[0][torch.from_numpy(INSIDE)] = 1.0
    right, wrong = (road.removal_curve(score, image, faith.ranking(heat)) for heat in (RIGHT, WRONG))
    assert right > 0.3
    assert wrong < -right / 2


def fill(image: torch.Tensor, missing: np.ndarray) -> torch.Tensor:
    return road.fill(image[None], torch.from_numpy(missing)[None], torch.Generator().manual_seed(0))[0]


def test_filling_continues_a_ramp():
    ramp = torch.arange(12.0).repeat(12, 1)[None]
    missing = np.zeros((12, 12), dtype=bool)
    missing[4:8, 4:8] = True
    filled = fill(ramp, missing)
    assert torch.equal(filled[0][~torch.from_numpy(missing)], ramp[0][~torch.from_numpy(missing)])
    assert filled.numpy() == pytest.approx(ramp.numpy(), abs=0.2)  # the noise is 1 % of the spread


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_filling_solves_the_linear_system(share, monkeypatch):
    monkeypatch.setattr(road, "NOISE", 0.0)
    generator = np.random.default_rng(0)
    image = ndimage.gaussian_filter(generator.random((19, 24)), 2)
    smooth = ndimage.gaussian_filter(generator.random((19, 24)), 3)
    missing = smooth > np.quantile(smooth, 1 - share)
    weights = {(y, x): 1 / 12 if y and x else 1 / 6 for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x}
    matrix, right = np.eye(image.size), np.where(missing, 0, image).ravel()
    for y, x in np.argwhere(missing):
        inside = {(y + i, x + j): w for (i, j), w in weights.items() if 0 <= y + i < 19 and 0 <= x + j < 24}
        for (i, j), weight in inside.items():
            matrix[y * 24 + x, i * 24 + j] -= weight / sum(inside.values())
    exact = np.linalg.solve(matrix, right).reshape(image.shape)
    grey = torch.from_numpy(image).float().expand(3, -1, -1)
    scaled = grey * torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    assert fill(scaled, missing)[2].numpy() == pytest.approx(3 * exact, abs=0.03 * image.std())
    other = torch.stack([grey[0], torch.rand(19, 24)])  # channels that are not one grey film
    assert fill(other, missing)[0].numpy() == pytest.approx(exact, abs=0.03 * image.std())


def test_filling_nothing_and_filling_everything():
    image = torch.rand(2, 6, 6)
    assert torch.equal(fill(image, np.zeros((6, 6), dtype=bool)), image)
    filled = fill(image, np.ones((6, 6), dtype=bool))
    assert filled.mean((1, 2)).numpy() == pytest.approx(image.mean((1, 2)).numpy(), abs=0.02)


def test_average_drop_and_increase(image):
    assert faith.drop_and_increase(score, image, RIGHT) == (0, 0)
    assert faith.drop_and_increase(score, image, WRONG) == (1, 0)
    dimmed = torch.where(torch.from_numpy(INSIDE), -1.0, 1.0).expand(3, SIZE, SIZE)

    def outside(shown: torch.Tensor) -> torch.Tensor:
        return shown.mean((1, 2, 3)).clamp_min(0)  # the dark square lowers it; a map that hides it raises it

    assert faith.drop_and_increase(outside, dimmed, WRONG) == (0, 1)


def test_average_drop_wants_probabilities(image):
    with pytest.raises(ValueError, match="negative values; average drop needs probabilities"):
        faith.drop_and_increase(lambda images: -score(images), image, RIGHT)


def test_border_share():
    assert faith.border_share(np.ones((48, 96))) == pytest.approx(1 - 44 * 88 / (48 * 96))
    frame = np.ones((48, 48))
    frame[2:-2, 2:-2] = 0
    assert faith.border_share(frame) == 1
    assert faith.border_share(1 - frame) == 0
    assert faith.border_share(np.zeros((48, 48))) == 0


def test_agreement_of_a_map_with_itself_and_its_opposite():
    maps = np.random.default_rng(0).random((2, 8, 8))
    table = faith.agreement({"one": maps, "same": maps**2, "opposite": 1 - maps, "flat": np.zeros_like(maps)})
    assert table["one"]["one"] == 1
    assert table["one"]["same"] == pytest.approx(1)
    assert table["opposite"]["one"] == pytest.approx(-1)
    assert table["one"]["flat"] == 0
    assert table["one"]["opposite"] == table["opposite"]["one"]


def test_similarity_of_a_map_with_itself():
    heat = np.random.default_rng(0).random((16, 16)).astype(np.float32)
    assert faith.similarity(heat, heat) == pytest.approx(1)
    assert faith.similarity(heat, 1 - heat) < 0


def test_layers_go_from_the_head_down():
    assert sanity_checks.layer_groups(timm.create_model("resnet18"))[:3] == ["fc", "layer4.1", "layer4.0"]
    vit = timm.create_model("vit_tiny_patch16_224", depth=2, embed_dim=24, num_heads=2)
    assert sanity_checks.layer_groups(vit) == ["head", "norm", "blocks.1", "blocks.0", "patch_embed"]


def test_randomising_keeps_mean_and_deviation_and_the_rest():
    network = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 4))
    kept, before = network[0].weight.clone(), network[1].weight.clone()
    sanity_checks.randomise(network, "1", torch.Generator().manual_seed(0))
    assert torch.equal(network[0].weight, kept)
    assert not torch.allclose(network[1].weight, before)
    assert float(network[1].weight.std()) == pytest.approx(float(before.std()), rel=0.2)


def test_maps_of_a_randomised_network_differ_and_the_network_stays():
    torch.manual_seed(0)
    network, images = timm.create_model("resnet18", num_classes=2).eval(), torch.randn(2, 3, 96, 96)
    before = {name: value.clone() for name, value in network.state_dict().items()}

    def maps(model: nn.Module) -> np.ndarray:
        return np.stack([one.heatmap for one in explain(model, images, method="layercam", target=1)])

    levels = sanity_checks.randomisation(maps, network, levels=3)
    assert levels[0].down_to == "fc"
    assert levels[-1].down_to == "conv1"
    assert levels[-1].rank_correlation < 0.9
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_map_of_the_image_alone_fails_the_randomisation_test():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    picture = np.random.default_rng(0).random((1, 8, 8)).astype(np.float32)
    levels = sanity_checks.randomisation(lambda model: picture, network)
    assert not sanity_checks.passes(levels)
    assert sanity_checks.passes([sanity_checks.RandomisedLevel("conv1", 0.2, -0.1)])
    with pytest.raises(ValueError, match="constant maps only"):
        sanity_checks.randomisation(lambda model: np.zeros((1, 8, 8)), network)


def test_probability_of_a_class():
    two, one = nn.Linear(3, 2), nn.Linear(3, 1)
    images = torch.randn(4, 3)
    assert torch.allclose(faith.probability(two, 0)(images) + faith.probability(two, 1)(images), torch.ones(4))
    assert torch.allclose(faith.probability(one, 1)(images), one(images)[:, 0].sigmoid())
    assert torch.allclose(faith.probability(one, 0)(images), 1 - one(images)[:, 0].sigmoid())


def test_all_figures_of_a_right_and_a_wrong_map():
    image = torch.zeros(1, 1, SIZE, SIZE)
    image[0, 0][torch.from_numpy(INSIDE)] = 1.0
    right, wrong = (faith.measure_faithfulness(score, image, heat[None], steps=8) for heat in (RIGHT, WRONG))
    assert set(right) == {"deletion", "insertion", "road", "border_share", "drop", "increase"}
    assert right["deletion"] < wrong["deletion"]
    assert right["insertion"] > wrong["insertion"]
    assert right["road"] > wrong["road"]
    assert right["drop"] < wrong["drop"]
