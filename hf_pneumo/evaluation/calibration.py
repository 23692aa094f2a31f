"""From logits to a decision: temperature, threshold and abstain band, fitted on validation predictions alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.models.checkpoint import OperatingPoint

TEMPERATURES = (0.05, 20.0)
ABSTAINED = 0.05  # share of the validation films, those nearest the threshold, that the band covers
BINS = 15


def fit_operating_point(
    logits: np.ndarray, labels: np.ndarray, label_set: LabelSet, *, by: str = "balanced_accuracy", fitted_on: str
) -> OperatingPoint:
    """Temperature, one threshold per score and its abstain band from validation ``logits`` (N, K) and ``labels``."""
    temperature = fit_temperature(logits, labels, label_set)
    odds, targets = label_set.log_odds(logits, temperature), label_set.score_targets(labels)
    cuts = [best_cut(o[~np.isnan(t)], t[~np.isnan(t)], by) for o, t in zip(odds.T, targets.T, strict=True)]
    bands = [abstain_band(o, cut) for o, cut in zip(odds.T, cuts, strict=True)]
    return OperatingPoint(temperature, tuple(float(expit(c)) for c in cuts), tuple(bands), fitted_on)


def fit_temperature(logits: np.ndarray, labels: np.ndarray, label_set: LabelSet) -> float:
    """The temperature of least negative log-likelihood (Guo et al. 2017, arXiv 1706.04599), within 0.05-20."""
    low, high = np.log(TEMPERATURES)
    found = minimize_scalar(
        lambda t: label_set.negative_log_likelihood(logits, labels, float(np.exp(t))), bounds=(low, high), method="bounded"
    )
    return float(np.exp(found.x))


def best_cut(odds: np.ndarray, targets: np.ndarray, by: str) -> float:
    """The log-odds threshold that maximises ``by`` ("balanced_accuracy" or "accuracy").

    Where a whole stretch of thresholds is best, its middle is taken; between equal stretches, the widest.
    Without both classes it is 0.
    """
    positives, negatives = int((targets == 1).sum()), int((targets == 0).sum())
    if not positives or not negatives:
        return 0.0
    order = np.argsort(odds, kind="stable")
    sorted_odds, sorted_targets = odds[order], targets[order]
    edges = np.concatenate([[sorted_odds[0] - 1], sorted_odds, [sorted_odds[-1] + 1]])  # stretches between films
    missed = np.concatenate([[0], np.cumsum(sorted_targets == 1)])  # positives below the threshold
    passed = np.concatenate([[0], np.cumsum(sorted_targets == 0)])  # negatives below it
    sensitivity, specificity = 1 - missed / positives, passed / negatives
    if by == "accuracy":
        value = (sensitivity * positives + specificity * negatives) / (positives + negatives)
    else:
        value = (sensitivity + specificity) / 2
    width = np.diff(edges)
    best = (value >= value.max() - 1e-12) & (width > 0)
    widest = int(np.argmax(np.where(best, width, -1)))
    return float((edges[widest] + edges[widest + 1]) / 2)


def abstain_band(odds: np.ndarray, cut: float) -> tuple[float, float]:
    """Probabilities (low, high) around the threshold that hold the 5 % of films nearest to it in log-odds."""
    reach = float(np.quantile(np.abs(odds - cut), ABSTAINED))
    return float(expit(cut - reach)), float(expit(cut + reach))


def expected_calibration_error(probability: np.ndarray, target: np.ndarray, bins: int = BINS) -> float:
    """ECE with equal-width bins of the positive class's probability (Naeini et al. 2015), in [0, 1]."""
    index = np.minimum((probability * bins).astype(int), bins - 1)
    gap = np.bincount(index, weights=probability - target, minlength=bins)
    return float(np.abs(gap).sum() / len(probability))


def reliability(probability: np.ndarray, target: np.ndarray, bins: int = BINS) -> list[dict[str, float]]:
    """One row per bin that holds films: mean predicted probability, observed frequency, count."""
    index = np.minimum((probability * bins).astype(int), bins - 1)
    mean: Callable[[np.ndarray], float] = lambda v: float(np.mean(v))  # noqa: E731
    return [
        {"predicted": mean(probability[index == b]), "observed": mean(target[index == b]), "n": int((index == b).sum())}
        for b in range(bins)
        if (index == b).any()
    ]


def odds(probability: float) -> float:
    """Log-odds of a probability, finite at 0 and 1."""
    return float(logit(np.clip(probability, 1e-12, 1 - 1e-12)))
