"""Losses for exclusive labels (softmax) and independent ones (sigmoid), and the two ways to weigh classes."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.training.config import TrainConfig

logger = logging.getLogger(__name__)

Loss = Callable[[Tensor, Tensor], Tensor]


def make_loss(config: TrainConfig, labels: LabelSet, targets: Tensor) -> Loss:
    """The loss that ``config`` asks for; ``targets`` are the training labels, from which class weights are counted.

    The result maps logits (B, K) and targets, int64 (B,) of exclusive labels or float (B, K) with NaN for unknown of
    independent ones, to the mean loss in nats.
    """
    stacked = [
        name
        for name, used in (
            ("loss weighted", config.loss == "weighted"),
            ("focal_alpha inverse", config.loss == "focal" and config.focal_alpha == "inverse"),
            ("balance class-weights", config.balance == "class-weights"),
            ("balance sampler", config.balance == "sampler"),
        )
        if used
    ]
    if len(stacked) > 1:
        logger.warning("classes are balanced more than once (%s): rare classes are overweighted", " and ".join(stacked))
    weighted = config.loss == "weighted" or config.balance == "class-weights"
    gamma = config.focal_gamma if config.loss == "focal" else 0.0
    inverse = config.loss == "focal" and config.focal_alpha == "inverse"
    if not labels.exclusive:
        return _binary(targets, gamma, weighted or inverse)
    weights = inverse_frequency(targets, len(labels.names))
    weight = torch.ones_like(weights)
    for used in (weighted, inverse):
        weight = weight * weights if used else weight

    def exclusive(logits: Tensor, target: Tensor) -> Tensor:
        if gamma:
            return focal(logits, target, gamma=gamma, alpha=weight.to(logits), smoothing=config.label_smoothing)
        return F.cross_entropy(logits, target, weight.to(logits), label_smoothing=config.label_smoothing)

    return exclusive


def inverse_frequency(targets: Tensor, classes: int) -> Tensor:
    """Class weights n / (classes * count), float32 (classes,): one on average over the training films."""
    counts = torch.bincount(targets, minlength=classes).clamp_min(1)
    return targets.numel() / (classes * counts.float())


def focal(
    logits: Tensor, target: Tensor, *, gamma: float = 2.0, alpha: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Focal loss, mean over the batch: -alpha_t (1 - p_t)^gamma log p_t (Lin et al. 2017, eq. 5, arXiv 1708.02002).

    ``logits`` (B, K), ``target`` int64 (B,), ``alpha`` per class (K,) or None; gamma 0 is cross-entropy.
    """
    log_p = F.log_softmax(logits, dim=1)
    log_pt = log_p.gather(1, target.unsqueeze(1)).squeeze(1)  # (B,)
    log_likelihood = (1 - smoothing) * log_pt + smoothing * log_p.mean(dim=1)
    loss = -((1 - log_pt.exp()) ** gamma) * log_likelihood
    return (loss if alpha is None else loss * alpha[target]).mean()


def _binary(targets: Tensor, gamma: float, weighted: bool) -> Loss:
    """Sigmoid cross-entropy over the known labels; positives weighted by negatives / positives of each label."""
    positives = (targets == 1).sum(0).clamp_min(1).float()
    weight = (targets == 0).sum(0).clamp_min(1).float() / positives if weighted else torch.ones_like(positives)

    def binary(logits: Tensor, target: Tensor) -> Tensor:
        known = ~torch.isnan(target)
        value = torch.where(known, target, torch.zeros_like(target))
        loss = F.binary_cross_entropy_with_logits(logits, value, pos_weight=weight.to(logits), reduction="none")
        if gamma:
            p = torch.sigmoid(logits)
            loss = loss * (value * (1 - p) + (1 - value) * p) ** gamma
        return (loss * known).sum() / known.sum().clamp_min(1)

    return binary
