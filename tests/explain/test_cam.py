"""Class activation maps: by hand on a toy, then the properties that hold for any network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hf_pneumo.explain import ZeroGradientError, cam_pass, explain
from hf_pneumo.explain import cam as formulas
from hf_pneumo.explain.raw_maps import upsample

# The toy's maps A and, for logit 0, its gradient G; what follows is worked out from these eight numbers each.
A = np.array([[[1.0, 0.0], [2.0, 1.0]], [[0.0, 3.0], [1.0, 0.0]]])
G = np.array([[[1.0, 2.0], [3.0, 4.0]], [[-1.0, 0.0], [0.0, -1.0]]])


def grid(toy, image, method, target=0, **options):
    return explain(toy, image, method=method, target=target, **options)[0].grid


def test_gradcam_by_hand(toy, toy_image):
    # Mean gradients 2.5 and -0.5: 2.5 A0 - 0.5 A1 = [[2.5, -1.5], [4.5, 2.5]], then ReLU.
    assert grid(toy, toy_image, "gradcam") == pytest.approx(np.array([[2.5, 0.0], [4.5, 2.5]]))


def test_gradcam_of_the_other_logit_by_hand(toy, toy_image):
    # Mean gradients 0.25 and 2.
    assert grid(toy, toy_image, "gradcam", 1) == pytest.approx(np.array([[0.25, 6.0], [2.5, 0.25]]))


def test_gradcam_of_a_contrast_by_hand(toy, toy_image):
    # Gradients of logit 1 minus logit 0 have the means -2.25 and 2.5.
    assert grid(toy, toy_image, "gradcam", (1, 0)) == pytest.approx(np.array([[0.0, 7.5], [0.0, 0.0]]))


def test_gradcam_plus_plus_follows_the_papers_equation(toy, toy_image):
    weights = []
    for a, g in zip(A, G, strict=True):
        alpha = np.where(g == 0, 0.0, g**2 / np.where(g == 0, 1, 2 * g**2 + a.sum() * g**3))
        weights.append((alpha * np.maximum(g, 0)).sum())
    expected = np.maximum(weights[0] * A[0] + weights[1] * A[1], 0)
    assert grid(toy, toy_image, "gradcam++") == pytest.approx(expected)


def test_hirescam_by_hand(toy, toy_image):
    # G * A summed over channels: [[1 + 0, 0 + 0], [6 + 0, 4 + 0]].
    assert grid(toy, toy_image, "hirescam") == pytest.approx(np.array([[1.0, 0.0], [6.0, 4.0]]))


def test_hirescam_of_a_negative_score_has_no_evidence(toy, toy_image):
    found = explain(toy, -toy_image, method="hirescam", target=0)[0]
    assert found.constant
    assert not found.heatmap.any()


def test_layercam_by_hand(toy, toy_image):
    # Positive gradients only, which on logit 0 leaves out nothing that A does not already.
    assert grid(toy, toy_image, "layercam") == pytest.approx(np.array([[1.0, 0.0], [6.0, 4.0]]))
    # On logit 1: 0, 1 * 0 + 2 * 3, 2 * 1, 0.
    assert grid(toy, toy_image, "layercam", 1) == pytest.approx(np.array([[0.0, 6.0], [2.0, 0.0]]))


def test_xgradcam_by_hand(toy, toy_image):
    # Weights: (1 + 6 + 4) / 4 = 2.75 and 0 / 4 = 0.
    assert grid(toy, toy_image, "xgradcam") == pytest.approx(np.array([[2.75, 0.0], [5.5, 2.75]]))


def test_eigencam_is_the_first_singular_projection(toy, toy_image):
    positions = A.reshape(2, -1).T
    _, _, rows = np.linalg.svd(positions)
    expected = np.abs(positions @ rows[0]).reshape(2, 2)  # all entries of A are >= 0, so the projection has one sign
    assert grid(toy, toy_image, "eigencam") == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("channels", [2, 40])
def test_eigencam_takes_either_side_of_the_decomposition(channels):
    maps = torch.rand(1, channels, 3, 4, generator=torch.Generator().manual_seed(1))
    positions = maps[0].flatten(1).T.numpy()
    expected = np.abs(positions @ np.linalg.svd(positions)[2][0]).reshape(3, 4)
    assert formulas.eigencam(maps)[0].numpy() == pytest.approx(expected, rel=1e-3)


def test_cam_is_the_classifiers_row_on_the_maps(patches):
    image = torch.randn(2, 3, 12, 8)
    with torch.no_grad():
        maps, row = patches.forward_features(image), patches.fc.weight[1]
    expected = torch.einsum("c,bchw->bhw", row.detach(), maps).numpy()
    found = explain(patches, image, method="cam", target="PNEUMONIA")
    assert np.stack([one.grid for one in found]) == pytest.approx(expected, abs=1e-6)
    assert found[0].heatmap.min() == 0  # signed: min-max scaled
    assert found[0].heatmap.max() == 1


def test_cam_and_gradcam_agree_up_to_the_grids_size(patches):
    image = torch.randn(1, 3, 12, 8)
    plain = grid(patches, image, "cam", 1)
    assert grid(patches, image, "gradcam", 1) * 6 == pytest.approx(np.maximum(plain, 0), abs=1e-6)


def test_cam_refuses_a_head_that_is_not_linear(toy, toy_image):
    with pytest.raises(ValueError, match="needs a linear classifier.*gradcam"):
        explain(toy, toy_image, method="cam", target=0)


def test_scorecam_by_hand(toy, toy_image):
    # Masks are the maps scaled to [0, 1]; the masked images' logits, by softmax, are the weights.
    scores = []
    for a in A:
        mask = (a - a.min()) / (a.max() - a.min())
        scores.append(float((G * A * mask).sum()))
    weights = np.exp(scores) / np.exp(scores).sum()
    expected = np.maximum(weights[0] * A[0] + weights[1] * A[1], 0)
    assert grid(toy, toy_image, "scorecam") == pytest.approx(expected, rel=1e-5)


def test_scorecam_does_not_depend_on_its_batches(patches):
    image = torch.randn(2, 3, 16, 16)
    whole, parts = (
        [one.grid for one in explain(patches, image, method="scorecam", target=1, internal_batch_size=n)]
        for n in (6, 4)
    )
    assert np.stack(whole) == pytest.approx(np.stack(parts), abs=1e-6)


def test_scorecam_masks_what_the_cells_look_at(patches):
    image, seen = torch.randn(1, 3, 16, 16), []
    handle = patches.embed.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    explain(patches, image, method="scorecam", target=1, offset=(-3.0, 1.5))
    handle.remove()
    (_, activations), (masked, _) = seen
    masks = upsample(activations[0], (16, 16), (-3.0, 1.5))
    low, high = masks.amin((1, 2), keepdim=True), masks.amax((1, 2), keepdim=True)
    expected = image * ((masks - low) / (high - low).clamp_min(1e-8))[:, None]
    assert torch.allclose(masked, expected, atol=1e-5)
    assert not torch.allclose(masks, upsample(activations[0], (16, 16)), atol=1e-2)


def test_scorecam_can_keep_the_widest_maps_only(patches):
    image, seen = torch.randn(1, 3, 16, 16), []
    handle = patches.embed.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    explain(patches, image, method="scorecam", target=1, channels=2)
    handle.remove()
    assert sum(seen) == 3  # the image itself and two masked ones


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "hirescam", "layercam", "xgradcam", "eigencam", "cam"])
def test_moving_the_image_by_one_patch_moves_the_map_by_one_cell(patches, method):
    generator = torch.Generator().manual_seed(3)
    image = torch.zeros(1, 3, 24, 24)
    image[..., 4:16, 4:16] = torch.randn(3, 12, 12, generator=generator)
    moved = torch.roll(image, (4, 8), (2, 3))
    first, second = (explain(patches, x, method=method, target=1)[0].grid for x in (image, moved))
    assert second == pytest.approx(np.roll(first, (1, 2), (0, 1)), abs=1e-5)


def test_logits_are_those_of_the_network(patches):
    images = torch.randn(3, 3, 8, 8)
    found = np.stack([one.logits for one in explain(patches, images)])
    assert found.dtype == np.float32
    assert found == pytest.approx(patches(images).detach().numpy(), abs=1e-6)


def test_one_forward_pass_and_none_of_it_recorded_before_the_layer(patches):
    seen = []
    handle = patches.embed.register_forward_hook(lambda module, inputs, out: seen.append(out.requires_grad))
    cam_pass(patches, torch.randn(1, 3, 8, 8), 1)
    handle.remove()
    assert seen == [False]


def test_heatmap_is_the_bilinear_upsampling_scaled_by_its_maximum(patches):
    found = explain(patches, torch.randn(1, 3, 12, 20), target=0)[0]
    raw = F.interpolate(torch.from_numpy(found.grid)[None, None], (12, 20), mode="bilinear", align_corners=False)[0, 0]
    assert found.heatmap == pytest.approx((raw / raw.max()).numpy(), abs=1e-6)
    assert found.heatmap.dtype == np.float32


def test_a_map_without_positive_evidence_is_zeros_and_says_so(patches):
    with torch.no_grad():
        patches.fc.weight[1] = -patches.fc.weight[1].abs()
    found = explain(patches, torch.randn(1, 3, 8, 8), target=1)[0]
    assert found.constant
    assert not found.heatmap.any()


def test_zero_gradient_is_an_error_that_names_the_way_out(patches):
    with torch.no_grad():
        patches.fc.weight.zero_()
    with pytest.raises(ZeroGradientError, match="`layer` 'act': .*zero gradient.*eigencam"):
        explain(patches, torch.randn(1, 3, 8, 8), target=1)


def test_a_layer_named_by_an_explanation_gives_the_same_map(patches):
    image = torch.randn(2, 3, 8, 8)
    default = explain(patches, image, target=1)
    named = explain(patches, image, target=1, layer=default[0].layer)
    assert np.stack([one.grid for one in named]) == pytest.approx(np.stack([one.grid for one in default]), abs=1e-7)


def test_an_unknown_layer_names_those_there_are(patches):
    with pytest.raises(ValueError, match="`layer` 'layer4'.*embed, act, fc"):
        explain(patches, torch.randn(1, 3, 8, 8), layer="layer4")


def test_a_plain_module_can_be_explained_at_a_named_layer():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 4, 4), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2)
    )
    with pytest.raises(ValueError, match="pass `layer`"):
        explain(network, torch.randn(1, 3, 12, 8))
    assert explain(network, torch.randn(1, 3, 12, 8), layer="0")[0].grid.shape == (3, 2)
