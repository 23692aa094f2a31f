"""What is explained: every way to say it, and every way to say it wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hf_pneumo.explain import explain
from hf_pneumo.explain.target import resolve

NAMES = ("NORMAL", "BACTERIA", "VIRUS")
LOGITS = torch.tensor([[1.0, 5.0, 2.0], [4.0, 0.0, -1.0]])


@pytest.mark.parametrize(
    ("target", "scores", "names"),
    [
        (None, [5, 4], ("BACTERIA", "NORMAL")),
        (2, [2, -1], ("VIRUS", "VIRUS")),
        ("NORMAL", [1, 4], ("NORMAL", "NORMAL")),
        ("not NORMAL", [-1, -4], ("not NORMAL", "not NORMAL")),
        (("BACTERIA", "VIRUS"), [3, 1], ("BACTERIA - VIRUS",) * 2),
        ((0, "VIRUS"), [-1, 5], ("NORMAL - VIRUS",) * 2),
        (["VIRUS", 0], [2, 4], ("VIRUS", "NORMAL")),
        ([None, ("NORMAL", "VIRUS")], [5, 5], ("BACTERIA", "NORMAL - VIRUS")),
        (torch.tensor([0, 1]), [1, 0], ("NORMAL", "BACTERIA")),
        (np.array([2, 2]), [2, -1], ("VIRUS", "VIRUS")),
    ],
)
def test_target_selects_the_score(target, scores, names):
    found = resolve(target, LOGITS, NAMES)
    assert found.score(LOGITS).tolist() == scores
    assert found.names == names


@pytest.mark.parametrize(
    ("target", "names", "sign", "word"),
    [
        (None, ("NORMAL", "PNEUMONIA"), [1, -1], ("PNEUMONIA", "NORMAL")),
        (0, None, [-1, -1], ("0", "0")),
        ("NORMAL", ("NORMAL", "PNEUMONIA"), [-1, -1], ("NORMAL",) * 2),
        ("PNEUMONIA", ("PNEUMONIA",), [1, 1], ("PNEUMONIA",) * 2),
        ("not PNEUMONIA", ("PNEUMONIA",), [-1, -1], ("not PNEUMONIA",) * 2),
        (None, ("PNEUMONIA",), [1, -1], ("PNEUMONIA", "not PNEUMONIA")),
    ],
)
def test_one_logit_tells_two_classes(target, names, sign, word):
    logits = torch.tensor([[2.0], [-3.0]])
    found = resolve(target, logits, names)
    assert found.weights[:, 0].tolist() == sign
    assert found.names == word


def test_the_two_classes_of_one_logit_have_opposite_evidence(make_patches):
    network, image = make_patches(1), torch.randn(1, 3, 8, 8)
    up, down = (explain(network, image, method="cam", target=side)[0].grid for side in (1, 0))
    assert up == pytest.approx(-down)


@pytest.mark.parametrize(
    ("target", "names", "error", "message"),
    [
        (3, NAMES, ValueError, "`target` 3 is no class index; allowed are 0 to 2"),
        (-1, NAMES, ValueError, "allowed are 0 to 2"),
        ("virus", NAMES, ValueError, "knows 'NORMAL', 'BACTERIA', 'VIRUS'"),
        ("VIRUS", None, ValueError, "names no labels"),
        (1.5, NAMES, TypeError, "is a float"),
        (True, NAMES, TypeError, "is a bool"),
        ((1, 1), NAMES, ValueError, "contrasts a class with itself"),
        ((1, None), NAMES, ValueError, "a contrast is a tuple of two"),
        ([1], NAMES, ValueError, "1 targets for 2 images"),
    ],
)
def test_a_wrong_target_says_what_is_allowed(target, names, error, message):
    with pytest.raises(error, match=message):
        resolve(target, LOGITS, names)


def test_per_image_targets_are_those_of_single_calls(patches):
    images = torch.randn(3, 3, 8, 12)
    targets = ["PNEUMONIA", 0, ("NORMAL", "PNEUMONIA")]
    together = explain(patches, images, target=targets, batch_size=2)
    alone = [explain(patches, images[i : i + 1], target=targets[i])[0] for i in range(3)]
    for one, other in zip(together, alone, strict=True):
        assert one.target == other.target
        assert one.grid == pytest.approx(other.grid, abs=1e-6)


def test_foreign_label_names_are_not_taken_for_ours(make_patches):
    network = make_patches(2, ("cat", "dog", "bird"))
    assert explain(network, torch.randn(1, 3, 8, 8), target=1)[0].target == "1"
