"""Losses for exclusive labels (softmax) and independent ones (sigmoid), and the ways to weigh their classes."""

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
    balancing = {
        "loss weighted": config.loss == "weighted",
        "focal_alpha inverse": config.loss == "focal" and config.focal_alpha == "inverse",
        "balance class-weights": config.balance == "class-weights",
        "balance class-balanced": config.balance == "class-balanced",
        "balance sampler": config.balance in ("sampler", "view-sampler"),
    }
    stacked = [name for name, used in balancing.items() if used]
    if len(stacked) > 1:
        logger.warning("classes are balanced more than once (%s): rare classes are overweighted", " and ".join(stacked))
    inverse = balancing["loss weighted"] or balancing["balance class-weights"]
    alpha = balancing["focal_alpha inverse"]
    effective = balancing["balance class-balanced"]
    gamma = config.focal_gamma if config.loss == "focal" else 0.0
    if not labels.exclusive:
        weight = positive_weight(targets, config.cb_beta if effective else 1.0 if inverse or alpha else 0.0)
        if config.loss == "asymmetric":
            return _asymmetric(weight, config.asl_gamma_neg, config.asl_gamma_pos, config.asl_clip)
        return _asymmetric(weight, gamma, gamma, 0.0)
    weight = (
        effective_number(targets, len(labels.names), config.cb_beta) if effective else torch.ones(len(labels.names))
    )
    if inverse:
        weight = weight * inverse_frequency(targets, len(labels.names))
    if alpha:  # arXiv 2511.00456 scales its alphas to a mean of one over the classes
        shares = inverse_frequency(targets, len(labels.names))
        weight = weight * shares / shares.mean()

    def exclusive(logits: Tensor, target: Tensor) -> Tensor:
        if gamma:
            return focal(logits, target, gamma=gamma, alpha=weight.to(logits), smoothing=config.label_smoothing)
        return F.cross_entropy(logits, target, weight.to(logits), label_smoothing=config.label_smoothing)

    return exclusive


def inverse_frequency(targets: Tensor, classes: int) -> Tensor:
    """Class weights n / (classes * count), float32 (classes,): one on average over the training films."""
    counts = torch.bincount(targets, minlength=classes).clamp_min(1)
    return targets.numel() / (classes * counts.float())


def effective_number(targets: Tensor, classes: int, beta: float) -> Tensor:
    """Class weights (1 - beta) / (1 - beta^count), float32 (classes,) that sum to ``classes``.

    Cui et al. 2019 (arXiv 1901.05555): beta 0 weighs all classes alike, beta near 1 by inverse frequency.
    """
    counts = torch.bincount(targets, minlength=classes).clamp_min(1).double()
    weights = (1 - beta) / (1 - beta**counts)
    return (weights * classes / weights.sum()).float()


def positive_weight(targets: Tensor, beta: float) -> Tensor:
    """Weight of each label's positives, float32 (K,): effective number of its negatives over that of its positives.

    ``targets`` (N, K) in [0, 1], NaN for unknown. With ``beta`` 1 plain counts: negatives over positives; with 0 one.
    """
    counts = torch.stack([1 - targets, targets]).double().nansum(1).clamp_min(1)  # (2, K): negatives, positives
    number = counts if beta == 1 else (1 - beta**counts) / (1 - beta)
    return (number[0] / number[1]).float()


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


def _asymmetric(positive: Tensor, gamma_neg: float, gamma_pos: float, clip: float) -> Loss:
    """Sigmoid cross-entropy over the known labels, focused on present and absent ones each on their own.

    Asymmetric loss (Ridnik et al. 2021, eq. 7, arXiv 2009.14119): present labels count (1 - p)^gamma_pos, absent ones
    p_m^gamma_neg with p_m = max(p - clip, 0). Equal gammas without clip are the focal loss, zeros plain cross-entropy.
    ``positive``: weight of each label's present side (K,).
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        known = ~torch.isnan(target)
        value = torch.where(known, target, torch.zeros_like(target))
        p = torch.sigmoid(logits)
        present = -F.logsigmoid(logits) * positive.to(logits)
        absent = -F.logsigmoid(-logits)
        if clip:
            absent = -torch.log1p(-(p - clip).clamp_min(0))
        if gamma_pos:
            present = present * (1 - p) ** gamma_pos
        if gamma_neg:
            absent = absent * (p - clip).clamp_min(0) ** gamma_neg
        return ((value * present + (1 - value) * absent) * known).sum() / known.sum().clamp_min(1)

    return loss
