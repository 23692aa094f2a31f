"""Selective prediction: how the error falls when the least sure films are left to a person.

Geifman & El-Yaniv 2017 (arXiv 1705.08500): the risk-coverage curve; Geifman et al. 2019 (arXiv 1805.08206): AURC, the
area under it. Confidence is the distance of a score from its threshold in log-odds, as in the abstain band; predictive
entropy stands beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import entr, logit
from scipy.stats import rankdata

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.evaluation.classification.metrics import RESAMPLES, Metric, measure
from hf_pneumo.evaluation.results import scores_and_targets
from hf_pneumo.models.checkpoint import OperatingPoint

SHOWN = tuple(round(0.05 * step, 2) for step in range(1, 21))  # coverages of the curve that results hold
NEAREST = 1e-12  # probabilities nearer to 0 or 1 are that near


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


def selective(
    frame: pd.DataFrame, labels: LabelSet, point: OperatingPoint, *, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """Of every score, from predictions (`results.predictions`) alone: what abstaining buys.

    "metrics" with 95 % intervals by patient: "aurc", "best_aurc" (no ordering can do better with these errors), and
    under the operating point's abstain band "coverage" and "selective_risk". "curve": risk at coverages 5 to 100 %.
    "entropy": AURC by predictive entropy, and its mean in nats over films called right and wrong.
    """
    scores, targets = scores_and_targets(frame, labels)
    entropy = predictive_entropy(labels, labels.probabilities(np.stack(frame["logits"].to_list()), point.temperature))
    patients = frame["patient"].to_list()
    report = {}
    for i, name in enumerate(labels.score_names):
        threshold = point.thresholds[i]
        band = point.abstain[i] if point.abstain else (threshold, threshold)
        found = measure(
            scores[:, i], targets[:, i], threshold, patients, resamples=resamples, metrics=_metrics(threshold, band)
        )
        if "note" in found:
            continue
        known = ~np.isnan(targets[:, i])
        p, doubt = scores[known, i], entropy[known, i]
        wrong = (p >= threshold) != (targets[known, i] == 1)
        answered = ~_abstained(p, band)
        coverage, risk = risk_coverage(margin(p, threshold), wrong)
        rows = [round(share * len(p)) - 1 for share in SHOWN if round(share * len(p)) >= 1]
        report[name] = {
            "n": len(p),
            "errors": int(wrong.sum()),
            "band": list(band),
            "answered": {"n": int(answered.sum()), "errors": int(wrong[answered].sum())},
            "metrics": found["metrics"],
            "entropy": {
                "aurc": aurc(-doubt, wrong),
                "right": float(doubt[~wrong].mean()) if (~wrong).any() else None,
                "wrong": float(doubt[wrong].mean()) if wrong.any() else None,
            },
            "curve": [{"coverage": float(coverage[k]), "risk": float(risk[k])} for k in rows],
        }
    return report


def _abstained(probability: np.ndarray, band: tuple[float, float]) -> np.ndarray:
    return (probability > band[0]) & (probability < band[1])


def _metrics(threshold: float, band: tuple[float, float]) -> dict[str, Metric]:
    """The figures of :func:`selective` in the form that the bootstrap takes."""

    def selective_risk(p: np.ndarray, y: np.ndarray, called: np.ndarray) -> float:
        answered = ~_abstained(p, band)
        return float((called != (y == 1))[answered].mean()) if answered.any() else float("nan")

    return {
        "aurc": lambda p, y, called: aurc(margin(p, threshold), called != (y == 1)),
        "best_aurc": lambda p, y, called: aurc((called == (y == 1)).astype(float), called != (y == 1)),
        "coverage": lambda p, y, called: float((~_abstained(p, band)).mean()),
        "selective_risk": selective_risk,
    }
