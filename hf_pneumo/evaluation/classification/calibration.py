"""From logits to a decision: temperature, threshold and abstain band, fitted on validation predictions alone."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.models.config import OperatingPoint

TEMPERATURES = (0.05, 20.0)
ABSTAINED = 0.05  # share of the validation films, those nearest the threshold, that the band covers
BINS = 15
WEAK = 1e3  # inverse strength of the ridge that keeps separable classes finite


def fit_operating_point(
    logits: np.ndarray, labels: np.ndarray, label_set: LabelSet, *, by: str = "balanced_accuracy", fitted_on: str
) -> OperatingPoint:
    """Temperature, one threshold per score and its abstain band from validation ``logits`` (N, K) and ``labels``."""
    temperature = fit_temperature(logits, labels, label_set)
    odds, targets = label_set.log_odds(logits, temperature), label_set.score_targets(labels)
    cuts = [best_cut(o[~np.isnan(t)], t[~np.isnan(t)], by) for o, t in zip(odds.T, targets.T, strict=True)]
    bands = [abstain_band(o, cut) for o, cut in zip(odds.T, cuts, strict=True)]
    thresholds = tuple(float(expit(cut)) for cut in cuts)
    return OperatingPoint(temperature, thresholds, tuple(bands), fitted_on, evidence=evidence(labels, label_set))


def evidence(labels: np.ndarray, label_set: LabelSet) -> tuple[tuple[int, int], ...]:
    """How many films are (positive, negative) of each score; what is not known of a film counts for neither."""
    targets = label_set.score_targets(labels)
    return tuple((int((own == 1).sum()), int((own == 0).sum())) for own in targets.T)


def fit_temperature(logits: np.ndarray, labels: np.ndarray, label_set: LabelSet) -> float:
    """The temperature of least negative log-likelihood (Guo et al. 2017, arXiv 1706.04599), within 0.05-20."""
    low, high = np.log(TEMPERATURES)
    found = minimize_scalar(
        lambda t: label_set.negative_log_likelihood(logits, labels, float(np.exp(t))),
        bounds=(low, high),
        method="bounded",
    )
    return float(np.exp(found.x))


def best_cut(odds: np.ndarray, targets: np.ndarray, by: str) -> float:
    """The log-odds threshold for the best "accuracy", or "balanced_accuracy", as a logistic regression sees it; 0 for
    "half", the likelier class.

    The cut is where the regression of ``targets`` on ``odds`` (Platt 1999), its classes weighted equally for balanced
    accuracy, passes one half. It uses every film, where counting errors would follow the few nearest the cut.
    Without both classes, or where the score does not rise with the finding, it is 0.
    """
    if by == "half" or len(np.unique(targets)) < 2:
        return 0.0
    weight = "balanced" if by == "balanced_accuracy" else None
    line = LogisticRegression(C=WEAK, class_weight=weight).fit(odds[:, None], targets)
    slope, offset = float(line.coef_[0, 0]), float(line.intercept_[0])
    return -offset / slope if slope > 0 else 0.0


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
    return [
        {
            "predicted": float(probability[index == b].mean()),
            "observed": float(target[index == b].mean()),
            "n": int((index == b).sum()),
        }
        for b in range(bins)
        if (index == b).any()
    ]
