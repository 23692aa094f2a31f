"""The one call: its arguments, its smoothing, its scaling, its catalogue, and the boxes drawn from its maps."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch

from hf_pneumo.explain import Box, boxes, explain, methods
from hf_pneumo.explain.box import otsu
from hf_pneumo.explain.raw_maps import is_constant, scale, upsample


def test_the_catalogue_has_a_cost_and_a_family_for_each_method():
    found = methods()
    assert {"gradcam", "gradcam++", "hirescam", "layercam", "xgradcam", "eigencam", "scorecam", "cam"} <= set(found)
    assert {"rollout", "relevance", "legrad", "lime", "deeplift", "integrated_gradients"} <= set(found)
    assert all(name == method.name for name, method in found.items())
    assert {method.cost for method in found.values()} == {"quick", "moderate", "slow"}
    assert {method.family for method in found.values()} == {"cam", "attention", "attribution"}
    assert next(iter(found)) == "gradcam"
    assert found["integrated_gradients"].options == ("steps", "internal_batch_size", "baseline")
    assert found["gradcam"].options == ()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "grad-cam"}, ValueError, "`method` 'grad-cam' is unknown; allowed are gradcam, "),
        ({"images": torch.zeros(1, 3, 8, 8, dtype=torch.uint8)}, TypeError, "`images` must be a float tensor"),
        ({"images": np.zeros((1, 3, 8, 8))}, TypeError, "not ndarray"),
        ({"images": torch.zeros(3, 8, 8)}, ValueError, r"`images` has shape \(3, 8, 8\)"),
        ({"images": torch.zeros(0, 3, 8, 8)}, ValueError, "at least one image"),
        ({"images": torch.full((1, 3, 8, 8), float("nan"))}, ValueError, "`images` holds NaN"),
        ({"smoothing": "yes"}, ValueError, "`smoothing` 'yes'.*none, flips, shifts"),
        ({"batch_size": 0}, ValueError, "`batch_size` is 0"),
        ({"steps": 3}, TypeError, "`steps` is no option of method 'gradcam'; it has none"),
        ({"method": "lime", "steps": 3}, TypeError, "its options are segments, samples"),
        ({"method": "lime", "layer": "embed"}, ValueError, "`layer` has no meaning for 'lime'"),
    ],
)
def test_a_wrong_argument_says_what_is_right(patches, change, error, message):
    arguments = {"images": torch.zeros(1, 3, 8, 8), **change}
    with pytest.raises(error, match=message):
        explain(patches, arguments.pop("images"), **arguments)


def test_broken_weights_are_named(patches):
    with torch.no_grad():
        patches.fc.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite; check `model` for NaN weights"):
        explain(patches, torch.randn(1, 3, 8, 8), target=1)


def test_batches_do_not_show(patches):
    images = torch.randn(5, 3, 8, 8)
    whole, parts = (explain(patches, images, batch_size=size) for size in (5, 2))
    assert [one.target for one in whole] == [one.target for one in parts]
    for one, other in zip(whole, parts, strict=True):
        assert one.heatmap == pytest.approx(other.heatmap, abs=1e-6)


def test_flips_make_the_map_of_a_mirrored_film_the_mirrored_map(patches):
    image = torch.randn(1, 3, 16, 24)
    plain, mirrored = (explain(patches, x, target=1, smoothing="flips")[0] for x in (image, image.flip(-1)))
    assert mirrored.heatmap == pytest.approx(plain.heatmap[:, ::-1], abs=1e-5)
    assert mirrored.grid == pytest.approx(plain.grid[:, ::-1], abs=1e-5)


@pytest.mark.parametrize("smoothing", ["flips", "shifts", "flips+shifts"])
def test_smoothing_keeps_logits_target_and_shape(patches, smoothing):
    image = torch.randn(2, 3, 16, 24)
    plain, smooth = explain(patches, image), explain(patches, image, smoothing=smoothing)
    for one, other in zip(plain, smooth, strict=True):
        assert other.logits == pytest.approx(one.logits)
        assert other.target == one.target
        assert other.grid.shape == one.grid.shape
        assert other.heatmap.shape == one.heatmap.shape
        assert other.heatmap.max() == pytest.approx(1.0)
        assert not np.allclose(one.heatmap, other.heatmap)


def test_shifts_bring_every_view_back_to_its_place(patches):
    image = torch.zeros(1, 3, 112, 112)
    image[..., 48:64, 64:80] = 3.0  # a square of whole patches, and the shift of 4 pixels is one patch
    plain = explain(patches, image, target=1, method="cam")[0]
    smooth = explain(patches, image, target=1, method="cam", smoothing="shifts")[0]
    assert smooth.heatmap == pytest.approx(plain.heatmap, abs=1e-4)


def test_scale_keeps_zero_and_signed_maps_fill_the_range():
    maps = torch.tensor([[[0.0, 2.0], [4.0, 8.0]], [[-1.0, 0.0], [1.0, 3.0]]])
    assert scale(maps[:1])[0].tolist() == [[0, 0.25], [0.5, 1]]
    assert scale(maps[1:], signed=True)[0].tolist() == [[0, 0.25], [0.5, 1]]


def test_a_quantile_clips_hot_pixels_only():
    maps = torch.linspace(0, 1, 101).reshape(1, 1, 101)
    assert scale(maps, quantile=0.5)[0, 0, [0, 25, 50, 100]].tolist() == pytest.approx([0, 0.5, 1, 1])
    lone = torch.zeros(1, 10, 10)
    lone[0, 3, 3] = 5.0
    assert scale(lone, quantile=0.9).max() == 1  # the quantile is zero: the maximum counts


def test_constant_is_relative_to_the_maps_own_size():
    maps = torch.stack([torch.zeros(2, 2), torch.full((2, 2), 7.0), torch.tensor([[7.0, 7.0], [7.0, 7.001]])])
    assert is_constant(maps).tolist() == [True, True, False]
    assert is_constant(maps * 1e-8).tolist() == [True, True, False]


def test_upsampling_centres_cells():
    wide = upsample(torch.tensor([[[0.0, 1.0]]]), (1, 4))[0, 0]
    assert wide.tolist() == [0.0, 0.25, 0.75, 1.0]


def test_boxes_of_two_planted_regions():
    heat = np.zeros((20, 30), dtype=np.float32)
    heat[2:6, 3:10] = 1.0
    heat[10:14, 20:24] = 0.8
    heat[18, 0] = 0.9  # too small
    assert boxes(heat) == [Box(3, 2, 7, 4, 1.0), Box(20, 10, 4, 4, pytest.approx(0.8))]
    assert boxes(heat, max_boxes=1) == [Box(3, 2, 7, 4, 1.0)]
    assert boxes(heat, threshold=0.85) == [Box(3, 2, 7, 4, 1.0)]
    assert boxes(heat, min_area=0)[1] == Box(0, 18, 1, 1, pytest.approx(0.9))


def test_diagonal_neighbours_are_one_region():
    heat = np.eye(4, dtype=np.float32)
    assert boxes(heat) == [Box(0, 0, 4, 4, 1.0)]


def test_the_threshold_is_relative_to_the_maximum():
    heat = np.zeros((10, 10), dtype=np.float32)
    heat[4:6, 4:6] = 0.1
    assert boxes(heat) == [Box(4, 4, 2, 2, pytest.approx(0.1))]


def test_no_boxes_where_nothing_is_shown():
    heat = np.zeros((10, 10), dtype=np.float32)
    assert boxes(heat) == []
    heat[2:5, 2:5] = 1.0
    assert boxes(heat, positive=False) == []


def test_otsu_cuts_between_two_levels():
    heat = np.full((10, 10), 0.2, dtype=np.float32)
    heat[:3] = 0.9
    assert 0.2 < otsu(heat) < 0.9
    assert boxes(heat, threshold="otsu") == [Box(0, 0, 10, 3, pytest.approx(0.9))]


@pytest.mark.parametrize("threshold", [0, 1.5, "mean"])
def test_a_wrong_threshold_is_refused(threshold):
    with pytest.raises(ValueError, match="`threshold` is .*'otsu'"):
        boxes(np.ones((4, 4)), threshold=threshold)


def test_boxes_want_one_map():
    with pytest.raises(ValueError, match=r"`heatmap` has shape \(1, 4, 4\)"):
        boxes(np.ones((1, 4, 4)))


def test_sizes_are_averaged_each_scaled_by_its_own_maximum(patches):
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    one, both = (explain(patches, image, target=1, method="hirescam", sizes=sizes)[0] for sizes in ((32,), (32, 64)))
    alone = explain(patches, image, target=1, method="hirescam")[0]
    assert np.allclose(one.heatmap, alone.heatmap, atol=1e-5)
    assert both.heatmap.shape == (32, 32) and not np.allclose(both.heatmap, alone.heatmap, atol=1e-2)
    other = explain(patches, image, target=1, method="hirescam", sizes=(64,))[0]
    mean = (one.heatmap + other.heatmap) / 2
    assert np.allclose(both.heatmap, mean / mean.max(), atol=0.02)


def test_a_size_below_one_is_refused(patches):
    with pytest.raises(ValueError, match="`sizes`"):
        explain(patches, torch.rand(1, 3, 16, 16), sizes=(0,))


def test_a_layer_can_be_named_by_its_stride():
    network = timm.create_model("mobilenetv2_050", num_classes=2).eval()
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    by_stride, by_name = (explain(network, image, target=1, layer=name)[0] for name in ("stride16", "blocks.4"))
    assert by_stride.grid.shape == (4, 4) and np.array_equal(by_stride.heatmap, by_name.heatmap)
    with pytest.raises(ValueError, match="stride64.*stride16"):
        explain(network, image, layer="stride64")
