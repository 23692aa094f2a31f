"""Selective prediction: how the error falls when the least sure films are left to a person.

Geifman & El-Yaniv 2017 (arXiv 1705.08500): the risk-coverage curve; Geifman et al. 2019 (arXiv 1805.08206): AURC, the
area under it. Confidence is the distance of a score from its threshold in log-odds, as in the abstain band; predictive
entropy stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import entr, logit
from scipy.stats import rankdata

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.evaluation.bootstrap import RESAMPLES
from hf_pneumo.evaluation.classification.metrics import Estimates, Metric, measure
from hf_pneumo.evaluation.predictions import Predictions
from hf_pneumo.records import JsonRecord

COVERAGES = tuple(round(0.05 * step, 2) for step in range(1, 21))  # coverages of the curve that results hold
NEAREST = 1e-12  # probabilities nearer to 0 or 1 are that near


@dataclass(frozen=True)
class ErrorCount(JsonRecord):
    """Films, and how many of them are called wrong."""

    n: int
    errors: int


@dataclass(frozen=True)
class EntropyReport(JsonRecord):
    """Predictive entropy in place of the margin: AURC, and mean entropy in nats of films called right and wrong."""

    aurc: float
    right: float | None = None
    wrong: float | None = None


@dataclass(frozen=True)
class RiskPoint(JsonRecord):
    """A point of the risk-coverage curve, both in [0, 1]."""

    coverage: float
    risk: float


@dataclass(frozen=True, kw_only=True)
class SelectiveReport(JsonRecord):
    """What abstaining buys for one score.

    ``metrics``: "aurc", "best_aurc" (no ordering can do better with these errors), and under the operating point's
    abstain ``band`` "coverage" and "selective_risk". ``answered``: the films outside the band. ``curve``: risk at
    coverages of 5 to 100 %.
    """

    n: int
    errors: int
    band: tuple[float, float]
    answered: ErrorCount
    metrics: Estimates
    entropy: EntropyReport
    curve: tuple[RiskPoint, ...]


def risk_coverage(confidence: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coverage k/n and risk, both (n,), when the k surest of n films are answered, k = 1..n.

    ``confidence`` (n,), more is surer; ``wrong`` (n,) bool. Equally sure films enter in random order: the risk is the
    expected one.
    """
    n = len(wrong)
    group = rankdata(-confidence, method="dense") - 1  # 0 = surest
    share = np.bincount(group, weights=wrong) / np.bincount(group)  # errors per film among equals
    answered = np.arange(1, n + 1)
    return answered / n, np.cumsum(share[np.sort(group)]) / answered


def aurc(confidence: np.ndarray, wrong: np.ndarray) -> float:
    """Area under the risk-coverage curve: the mean risk over all coverages, in [0, 1], less is better."""
    return float(risk_coverage(confidence, wrong)[1].mean())


def margin(probability: np.ndarray, threshold: float) -> np.ndarray:
    """Distance of each probability from the threshold in log-odds."""
    bounded = np.clip(probability, NEAREST, 1 - NEAREST)
    return np.abs(logit(bounded) - logit(np.clip(threshold, NEAREST, 1 - NEAREST)))


def predictive_entropy(labels: LabelSet, probabilities: np.ndarray) -> np.ndarray:
    """Entropy in nats of each score's labels, (N, S), from ``probabilities`` (N, K).

    Over all labels where they exclude each other; of yes against no for each one where they do not.
    """
    if labels.exclusive:
        return entr(probabilities).sum(axis=1, keepdims=True)
    return entr(probabilities) + entr(1 - probabilities)


def measure_abstaining(predictions: Predictions, *, resamples: int = RESAMPLES) -> dict[str, SelectiveReport]:
    """Of every score that has figures, what abstaining buys, with intervals by patient."""
    entropy = predictive_entropy(predictions.labels, predictions.probabilities)
    reports = {}
    for i, name in enumerate(predictions.labels.score_names):
        if report := _measure_score(predictions, i, entropy[:, i], resamples):
            reports[name] = report
    return reports


def _measure_score(predictions: Predictions, index: int, entropy: np.ndarray, resamples: int) -> SelectiveReport | None:
    """The report of one score; None where there are too few films for figures."""
    point, score, target = predictions.point, predictions.scores[:, index], predictions.targets[:, index]
    threshold = point.thresholds[index]
    band = point.abstain[index] if point.abstain else (threshold, threshold)
    metrics = _metrics(threshold, band)
    figures = measure(score, target, threshold, predictions.patients, resamples=resamples, metrics=metrics)
    if figures.note:
        return None
    labelled = ~np.isnan(target)
    p, doubt = score[labelled], entropy[labelled]
    wrong = (p >= threshold) != (target[labelled] == 1)
    answered = ~_abstained(p, band)
    coverage, risk = risk_coverage(margin(p, threshold), wrong)
    rows = [round(share * len(p)) - 1 for share in COVERAGES if round(share * len(p)) >= 1]
    return SelectiveReport(
        n=len(p),
        errors=int(wrong.sum()),
        band=band,
        answered=ErrorCount(int(answered.sum()), int(wrong[answered].sum())),
        metrics=figures.metrics,
        entropy=EntropyReport(
            aurc(-doubt, wrong),
            float(doubt[~wrong].mean()) if (~wrong).any() else None,
            float(doubt[wrong].mean()) if wrong.any() else None,
        ),
        curve=tuple(RiskPoint(float(coverage[k]), float(risk[k])) for k in rows),
    )


def _abstained(probability: np.ndarray, band: tuple[float, float]) -> np.ndarray:
    return (probability > band[0]) & (probability < band[1])


def _metrics(threshold: float, band: tuple[float, float]) -> dict[str, Metric]:
    """The figures of :func:`measure_abstaining` in the form that the bootstrap takes."""

    def selective_risk(p: np.ndarray, y: np.ndarray, called: np.ndarray) -> float:
        answered = ~_abstained(p, band)
        return float((called != (y == 1))[answered].mean()) if answered.any() else float("nan")

    return {
        "aurc": lambda p, y, called: aurc(margin(p, threshold), called != (y == 1)),
        "best_aurc": lambda p, y, called: aurc((called == (y == 1)).astype(float), called != (y == 1)),
        "coverage": lambda p, y, called: float((~_abstained(p, band)).mean()),
        "selective_risk": selective_risk,
    }
