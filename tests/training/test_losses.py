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
from hf_pneumo.training.losses import focal, inverse_frequency, make_loss

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
    with pytest.raises(ValueError, match="cross-entropy, weighted, focal"):
        TrainConfig(loss="hinge")
    with pytest.raises(ValueError, match="resnet18"):
        TrainConfig(model="resnet_18x")
