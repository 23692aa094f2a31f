"""Losses against torchvision, torch and hand-computed values; a warning when classes are balanced twice."""

from __future__ import annotations

import logging
import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from hf_pneumo.data.labels import AETIOLOGY, MULTILABEL, PNEUMONIA
from hf_pneumo.training.config import TrainConfig
from hf_pneumo.training.losses import effective_number, focal, inverse_frequency, make_loss, positive_weight

LOGITS = torch.tensor([[2.0, -1.0], [0.3, 0.1], [-1.5, 2.5]])
TARGET = torch.tensor([0, 1, 1])


def test_focal_by_hand():
    p = torch.softmax(LOGITS, 1)[range(3), TARGET]
    by_hand = (-((1 - p) ** 2) * p.log()).mean()
    assert focal(LOGITS, TARGET, gamma=2.0).item() == pytest.approx(by_hand.item(), rel=1e-6)


def test_focal_of_two_logits_is_torchvisions_of_their_difference():
    difference = LOGITS[:, 1] - LOGITS[:, 0]
    theirs = sigmoid_focal_loss(difference, TARGET.float(), alpha=-1, gamma=2, reduction="mean")
    assert torch.allclose(focal(LOGITS, TARGET, gamma=2.0), theirs)


def test_focal_without_focus_is_cross_entropy():
    assert torch.allclose(focal(LOGITS, TARGET, gamma=0.0), F.cross_entropy(LOGITS, TARGET))
    smooth = F.cross_entropy(LOGITS, TARGET, label_smoothing=0.1)
    assert torch.allclose(focal(LOGITS, TARGET, gamma=0.0, smoothing=0.1), smooth)


def test_inverse_frequency_is_one_on_average():
    weights = inverse_frequency(torch.tensor([0, 0, 0, 1]), 2)
    assert weights.tolist() == pytest.approx([4 / 6, 2.0])


def test_weighted_loss_uses_the_training_films():
    loss = make_loss(TrainConfig(loss="weighted"), PNEUMONIA, torch.tensor([0, 1, 1, 1]))
    expected = F.cross_entropy(LOGITS, TARGET, torch.tensor([2.0, 4 / 6]))
    assert torch.allclose(loss(LOGITS, TARGET), expected)


def test_alphas_of_the_focal_loss_are_one_on_average_over_the_classes():
    """arXiv 2511.00456: inverse frequencies scaled to sum to the number of classes."""
    loss = make_loss(TrainConfig(loss="focal", focal_alpha="inverse"), PNEUMONIA, torch.tensor([0, 1, 1, 1]))
    assert torch.allclose(loss(LOGITS, TARGET), focal(LOGITS, TARGET, gamma=2.0, alpha=torch.tensor([1.5, 0.5])))


def test_unknown_labels_do_not_count():
    logits = torch.randn(4, 14, generator=torch.Generator().manual_seed(0))
    target = (torch.arange(56).view(4, 14) % 3 == 0).float()
    loss = make_loss(TrainConfig(task="multilabel"), MULTILABEL, target)
    masked = target.clone()
    masked[:, 3] = math.nan
    rest = [i for i in range(14) if i != 3]
    expected = F.binary_cross_entropy_with_logits(logits[:, rest], target[:, rest])
    assert torch.allclose(loss(logits, masked), expected)
    assert loss(logits, torch.full_like(target, math.nan)).item() == 0


def test_balancing_twice_warns(caplog):
    config = TrainConfig(loss="focal", focal_alpha="inverse", balance="sampler")  # the paper's own recipe
    with caplog.at_level(logging.WARNING):
        make_loss(config, PNEUMONIA, TARGET)
    assert "balanced more than once" in caplog.text
    caplog.clear()
    make_loss(TrainConfig(loss="focal", focal_alpha="inverse"), AETIOLOGY, torch.tensor([0, 1, 2]))
    assert not caplog.text


def test_wrong_choices_name_the_valid_ones():
    with pytest.raises(ValueError, match="cross-entropy, weighted, focal, asymmetric"):
        TrainConfig(loss="hinge")
    with pytest.raises(ValueError, match="resnet18"):
        TrainConfig(model="resnet_18x")


def test_asymmetric_by_hand():
    logits, target = torch.tensor([[0.7, -1.2, 3.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    loss = make_loss(
        TrainConfig(task="multilabel", loss="asymmetric", asl_gamma_neg=3.0, asl_gamma_pos=1.0, asl_clip=0.05),
        MULTILABEL,
        target,
    )
    p = torch.sigmoid(logits)[0]
    shifted = (p[1:] - 0.05).clamp_min(0)
    by_hand = -((1 - p[0]) * p[0].log()) - (shifted**3 * (1 - shifted).log()).sum()
    assert loss(logits, target).item() == pytest.approx(by_hand.item() / 3, rel=1e-5)
    easy = make_loss(TrainConfig(task="multilabel", loss="asymmetric"), MULTILABEL, target)
    assert easy(torch.tensor([[20.0, -4.0, -4.0]]), target).item() == pytest.approx(0, abs=1e-6)  # below the clip


def test_asymmetric_contains_focal_and_cross_entropy():
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    target = (torch.arange(24).view(6, 4) % 3 == 0).float()
    options = {"task": "multilabel", "loss": "asymmetric", "asl_clip": 0.0}
    plain = make_loss(TrainConfig(**options, asl_gamma_neg=0.0, asl_gamma_pos=0.0), MULTILABEL, target)
    assert torch.allclose(plain(logits, target), F.binary_cross_entropy_with_logits(logits, target))
    focused = make_loss(TrainConfig(**options, asl_gamma_neg=2.0, asl_gamma_pos=2.0), MULTILABEL, target)
    theirs = sigmoid_focal_loss(logits, target, alpha=-1, gamma=2, reduction="mean")
    assert torch.allclose(focused(logits, target), theirs)
    same = make_loss(TrainConfig(task="multilabel", loss="focal"), MULTILABEL, target)
    assert torch.allclose(same(logits, target), theirs)


def test_effective_numbers():
    """Cui et al. 2019: no balancing at beta 0, inverse frequency towards 1, and their formula in between."""
    targets = torch.tensor([0] * 90 + [1] * 10)
    assert effective_number(targets, 2, 0.0).tolist() == [1, 1]
    weights = effective_number(targets, 2, 0.9)
    expected = [(1 - 0.9) / (1 - 0.9**90), (1 - 0.9) / (1 - 0.9**10)]
    assert weights.tolist() == pytest.approx([2 * w / sum(expected) for w in expected], rel=1e-5)
    ratio = effective_number(targets, 2, 1 - 1e-9)
    assert (ratio[1] / ratio[0]).item() == pytest.approx(9, rel=1e-4)


def test_positives_are_weighted_by_known_and_smoothed_targets():
    target = torch.tensor([[1.0, 0.0], [0.5, math.nan], [0.0, 1.0], [0.0, 0.0]])
    assert positive_weight(target, 1.0).tolist() == pytest.approx([2.5 / 1.5, 2.0])
    assert positive_weight(target, 0.0).tolist() == [1, 1]
    halfway = (1 - 0.5**2) / (1 - 0.5)
    assert positive_weight(target, 0.5)[1].item() == pytest.approx(halfway)
    loss = make_loss(TrainConfig(task="multilabel", balance="class-weights"), MULTILABEL, target[:, 1:])
    logits = torch.tensor([[0.3], [0.1], [-0.4], [1.0]])
    known = [0, 2, 3]
    expected = F.binary_cross_entropy_with_logits(logits[known], target[known, 1:], pos_weight=torch.tensor([2.0]))
    assert torch.allclose(loss(logits, target[:, 1:]), expected)


def test_asymmetric_is_for_independent_labels():
    with pytest.raises(ValueError, match="`loss` asymmetric is for labels that do not exclude each other"):
        TrainConfig(loss="asymmetric")
