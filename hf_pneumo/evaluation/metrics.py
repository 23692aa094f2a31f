"""Metrics of predictions with 95 % intervals by a bootstrap over patients: films of one child are not independent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.evaluation.calibration import expected_calibration_error

RESAMPLES, SEED = 1000, 0
INTERVAL = (2.5, 97.5)  # percentiles
FEWEST = 5  # below this many films of either class a figure would be noise

# Every metric maps (probability (N,), target 0/1 (N,), verdict bool (N,)) to a number, NaN where it is not defined.
Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


def _ratio(part: np.ndarray, whole: np.ndarray) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else float("nan")


def _sensitivity(p: np.ndarray, y: np.ndarray, v: np.ndarray) -> float:
    return _ratio(v & (y == 1), y == 1)


def _specificity(p: np.ndarray, y: np.ndarray, v: np.ndarray) -> float:
    return _ratio(~v & (y == 0), y == 0)


def _f1(p: np.ndarray, y: np.ndarray, v: np.ndarray) -> float:
    total = v.sum() + (y == 1).sum()
    return float(2 * (v & (y == 1)).sum() / total) if total else float("nan")


def _ranked(function: Callable[..., float]) -> Metric:
    return lambda p, y, v: float(function(y, p)) if len(np.unique(y)) == 2 else float("nan")


METRICS: dict[str, Metric] = {
    "auroc": _ranked(roc_auc_score),
    "auprc": _ranked(average_precision_score),
    "accuracy": lambda p, y, v: float((v == (y == 1)).mean()),
    "balanced_accuracy": lambda p, y, v: (_sensitivity(p, y, v) + _specificity(p, y, v)) / 2,
    "sensitivity": _sensitivity,
    "specificity": _specificity,
    "precision": lambda p, y, v: _ratio(v & (y == 1), v),
    "f1": _f1,
    "brier": lambda p, y, v: float(np.mean((p - y) ** 2)),
    "ece": lambda p, y, v: expected_calibration_error(p, y),
}


def measure(
    probability: np.ndarray,
    target: np.ndarray,
    threshold: float,
    patients: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    metrics: Mapping[str, Metric] = METRICS,
) -> dict[str, Any]:
    """All ``metrics`` of one score over N films, each {"value", "low", "high"}, with counts and confusion matrix.

    ``probability`` in [0, 1]; ``target`` 0, 1 or NaN (not known, left out); a film is called positive from
    ``threshold`` on. Metrics that need both classes are None where one has fewer than five films; "note" says so.
    """
    known = ~np.isnan(target)
    p, y, ids = probability[known], target[known], np.asarray(patients)[known]
    verdict = p >= threshold
    positives, negatives = int((y == 1).sum()), int((y == 0).sum())
    report: dict[str, Any] = {
        "n": len(y),
        "positives": positives,
        "prevalence": positives / len(y) if len(y) else None,
        "threshold": threshold,
        "errors": int((verdict != (y == 1)).sum()),
        "confusion": [
            [int((~verdict & (y == 0)).sum()), int((verdict & (y == 0)).sum())],
            [int((~verdict & (y == 1)).sum()), int((verdict & (y == 1)).sum())],
        ],
        "metrics": {name: None for name in metrics},
    }
    if min(positives, negatives) < FEWEST:
        report["note"] = f"{positives} positive and {negatives} negative films are too few for figures"
        return report
    samples = patient_resamples(ids, resamples)
    for name, metric in metrics.items():
        drawn = [metric(p[rows], y[rows], verdict[rows]) for rows in samples]
        low, high = np.nanpercentile(drawn, INTERVAL) if drawn else (None, None)
        report["metrics"][name] = {"value": metric(p, y, verdict), "low": _number(low), "high": _number(high)}
    return report


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def patient_resamples(ids: np.ndarray, resamples: int) -> list[np.ndarray]:
    """Row numbers of ``resamples`` draws of patients with replacement, each with all films of the drawn patients."""
    _, patient = np.unique(ids, return_inverse=True)
    order = np.argsort(patient, kind="stable")
    films = np.split(order, np.flatnonzero(np.diff(patient[order])) + 1)
    generator = np.random.default_rng(SEED)
    return [np.concatenate([films[i] for i in generator.integers(0, len(films), len(films))]) for _ in range(resamples)]


def summary(reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the labels that have figures: plain ("macro") and weighted by positives; of one label, its own."""
    usable = [r for r in reports.values() if "note" not in r]
    if not usable:
        return {"metrics": {}, "weighted": {}}
    if len(usable) == 1:
        return {"metrics": usable[0]["metrics"], "weighted": {}}
    weights = np.array([r["positives"] for r in usable], dtype=float)
    values = {name: np.array([r["metrics"][name]["value"] for r in usable]) for name in usable[0]["metrics"]}
    plain = {name: {"value": float(np.mean(v)), "low": None, "high": None} for name, v in values.items()}
    return {"metrics": plain, "weighted": {name: float(np.average(v, weights=weights)) for name, v in values.items()}}


def mean_auroc(labels: LabelSet, logits: np.ndarray, targets: np.ndarray) -> float:
    """AUROC averaged over the scores for which both classes are there; 0.5 where there is none."""
    values = []
    for score, target in zip(labels.log_odds(logits).T, labels.score_targets(targets).T, strict=True):
        known = ~np.isnan(target)
        if len(np.unique(target[known])) == 2:
            values.append(roc_auc_score(target[known], score[known]))
    return float(np.mean(values)) if values else 0.5
