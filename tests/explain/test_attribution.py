"""Pixel attribution where the answer is known: linear networks, planted patches, completeness."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import nn

from hf_pneumo.explain import explain
from hf_pneumo.explain.attribution import MaxByReLU, baseline_images
from hf_pneumo.explain.perturbation import superpixels


class Linear(nn.Module):
    """Two logits, each a weighted sum of the pixels."""

    def __init__(self, rule: torch.Tensor) -> None:
        super().__init__()
        self.rule = nn.Parameter(rule)  # (2, C, h, w)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bchw,kchw->bk", x, self.rule)


class Brightness(nn.Module):
    """Logit 1 is the mean brightness of one square of the image, logit 0 is zero."""

    def __init__(self, rows: slice, columns: slice) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x[:, :, self.rows, self.columns].mean((1, 2, 3)) * self.scale
        return torch.stack([torch.zeros_like(bright), bright], 1)


@pytest.fixture
def linear() -> Linear:
    return Linear(torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0)))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("method", ["integrated_gradients", "deeplift"])
@pytest.mark.parametrize("baseline", ["dark", "zero", "mean"])
def test_a_linear_network_gives_weight_times_change(linear, images, method, baseline):
    found = explain(linear, images, method=method, target=[0, 1], baseline=baseline)
    change = images - baseline_images(images, baseline)
    expected = (linear.rule * change).sum(1).clamp_min(0).detach().numpy()
    assert np.stack([one.grid for one in found]) == pytest.approx(expected, abs=1e-5)
    assert [one.convergence_delta for one in found] == pytest.approx([0, 0], abs=1e-4)


def test_gradient_shap_without_noise_averages_to_the_same(linear, images):
    found = explain(linear, images, method="gradient_shap", target=1, stdev=0.0, baseline="zero", samples=400)
    expected = (linear.rule[1] * images).sum(1).clamp_min(0).detach().numpy()
    assert np.stack([one.grid for one in found]) == pytest.approx(expected, abs=1e-3)


def test_smoothgrad_of_a_linear_network_is_the_gradients_magnitude(linear, images):
    found = explain(linear, images, method="smoothgrad", target=0, samples=3)
    assert found[0].grid == pytest.approx(linear.rule[0].sum(0).abs().detach().numpy(), abs=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenetv2_100"])
def test_deeplift_is_complete_on_convolutional_networks(name):
    torch.manual_seed(0)
    network, image = timm.create_model(name, num_classes=2).eval(), torch.randn(1, 3, 64, 64)
    found = explain(network, image, method="deeplift", target=(1, 0), baseline="zero")[0]
    change = network(image) - network(torch.zeros_like(image))
    size = float(change[0].abs().max())
    assert abs(found.convergence_delta) < 1e-4 * max(1.0, size)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (2, 2, 0), (3, 1, 1), ((3, 2), (2, 1), (1, 0))])
def test_max_pooling_by_relu_is_max_pooling(kernel, stride, padding):
    pool, maps = nn.MaxPool2d(kernel, stride, padding), torch.randn(2, 3, 9, 11)
    assert torch.allclose(MaxByReLU(pool)(maps), pool(maps), atol=1e-6)


@pytest.mark.parametrize(
    ("method", "options"),
    [("occlusion", {"window": 8, "stride": 4}), ("superpixels", {"segments": 16}), ("lime", {"segments": 16})],
)
def test_covering_finds_the_square_that_counts(method, options):
    image = torch.full((1, 3, 32, 32), 0.2)
    image[..., 8:16, 16:24] = 1.0
    found = explain(Brightness(slice(8, 16), slice(16, 24)), image, method=method, target=1, **options)[0]
    inside = np.zeros((32, 32), dtype=bool)
    inside[8:16, 16:24] = True
    assert found.heatmap[inside].mean() > 0.7
    assert found.heatmap[inside].mean() > 4 * found.heatmap[~inside].mean()


def test_occlusion_measures_the_fall_of_the_score():
    image = torch.zeros(1, 3, 16, 16)
    image[..., 4:8, 8:12] = 1.0
    found = explain(
        Brightness(slice(4, 8), slice(8, 12)), image, method="occlusion", target=1, window=4, stride=4, baseline="zero"
    )[0]
    expected = np.zeros((16, 16))
    expected[4:8, 8:12] = 1.0
    assert found.grid == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("method", ["gradient_shap", "smoothgrad", "lime"])
def test_chance_is_seeded_and_leaves_the_global_generators_alone(linear, images, method):
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, again, other = (
        explain(linear, images[:1], method=method, target=1, samples=8, seed=seed)[0].grid for seed in (3, 3, 4)
    )
    assert np.array_equal(first, again)
    if method != "smoothgrad":  # whose gradient, of a linear network, is the same wherever it is taken
        assert not np.array_equal(first, other)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion", "lime", "deeplift"])
def test_progress_rises_to_one(linear, images, method):
    seen: list[float] = []
    explain(linear, images, method=method, target=1, progress=seen.append, batch_size=1)
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert all(0 <= done <= 1 for done in seen)


def test_passes_are_bounded_and_batched(linear, images):
    largest = []
    linear.register_forward_pre_hook(lambda module, inputs: largest.append(len(inputs[0])))
    explain(linear, images[:1], method="integrated_gradients", target=1, steps=12, internal_batch_size=5)
    assert max(largest) <= 5
    with pytest.raises(ValueError, match="`steps` is 0; give 1 to"):
        explain(linear, images, method="integrated_gradients", steps=0)
    with pytest.raises(ValueError, match="`samples` is 100000"):
        explain(linear, images, method="lime", samples=100_000)


def test_an_unknown_baseline_names_those_there_are(linear, images):
    with pytest.raises(ValueError, match="`baseline` 'white'.*dark, mean, blur, zero"):
        explain(linear, images, method="deeplift", baseline="white")


def test_superpixels_follow_the_image():
    image = torch.zeros(3, 32, 32)
    image[:, :, 16:] = 1.0
    labels = superpixels(image, 8).numpy()
    assert set(np.unique(labels)) == set(range(labels.max() + 1))
    assert not set(np.unique(labels[:, :15])) & set(np.unique(labels[:, 17:]))
