"""Metrics of predictions with 95 % intervals by a bootstrap over patients: films of one child are not independent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.stats import rankdata

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.evaluation.classification.calibration import expected_calibration_error

RESAMPLES, SEED = 1000, 0
INTERVAL = (2.5, 97.5)  # percentiles
FEWEST = 5  # below this many films of either class a figure would be noise
HALF = 0.5  # the threshold of published multi-label tables

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


def _auroc(p: np.ndarray, y: np.ndarray, v: np.ndarray) -> float:
    """By the rank sum of Mann and Whitney, ties counting half; a bootstrap cannot wait for scikit-learn's checks."""
    positive = y == 1
    n, m = int(positive.sum()), int((~positive).sum())
    return float((rankdata(p)[positive].sum() - n * (n + 1) / 2) / (n * m)) if n and m else float("nan")


def _auprc(p: np.ndarray, y: np.ndarray, v: np.ndarray) -> float:
    """Average precision as scikit-learn defines it: the sum of precision times rise in recall, no interpolation."""
    positive = y == 1
    if positive.all() or not positive.any():
        return float("nan")
    order = np.argsort(-p, kind="stable")
    last = np.append(np.flatnonzero(np.diff(p[order])), len(p) - 1)  # one step for films of equal probability
    hits = np.cumsum(positive[order])[last]
    return float((np.diff(hits, prepend=0) / hits[-1] * hits / (last + 1)).sum())


METRICS: dict[str, Metric] = {
    "auroc": _auroc,
    "auprc": _auprc,
    "accuracy": lambda p, y, v: float((v == (y == 1)).mean()),
    "balanced_accuracy": lambda p, y, v: (_sensitivity(p, y, v) + _specificity(p, y, v)) / 2,
    "sensitivity": _sensitivity,
    "specificity": _specificity,
    "precision": lambda p, y, v: _ratio(v & (y == 1), v),
    "f1": _f1,
    "brier": lambda p, y, v: float(np.mean((p - y) ** 2)),
    "ece": lambda p, y, v: expected_calibration_error(p, y),
}


AT_HALF: dict[str, Metric] = {name: METRICS[name] for name in ("precision", "sensitivity", "f1")}


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
    ``threshold`` on. Metrics that need both classes are None where one has fewer than five films ("note" says so),
    and any metric where it is not defined, as precision is where nothing is called.
    """
    known = ~np.isnan(target)
    samples = patient_resamples(np.asarray(patients)[known], resamples)
    return _measure(probability[known], target[known], threshold, samples, metrics)[0]


def measure_labels(
    probability: np.ndarray,
    target: np.ndarray,
    thresholds: Sequence[float],
    names: Sequence[str],
    patients: Sequence[str],
    *,
    resamples: int = RESAMPLES,
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Of N films and several scores (N, S): each score's `measure`, and their `summary`, all by the same draws.

    Each score's figures also hold "at_half": precision, sensitivity and F1 at 0.5, and the confusion matrix there.
    """
    samples = patient_resamples(np.asarray(patients), resamples)
    reports, draws = {}, {}
    for i, name in enumerate(names):
        known = ~np.isnan(target[:, i])
        place = np.cumsum(known) - 1  # of a film among those whose label is known
        own = [place[rows[known[rows]]] for rows in samples]
        p, y = probability[known, i], target[known, i]
        reports[name], draws[name] = _measure(p, y, thresholds[i], own, METRICS)
        half, _ = _measure(p, y, HALF, own, AT_HALF)
        reports[name]["at_half"] = {key: half[key] for key in ("threshold", "confusion", "metrics")}
    return reports, summary(reports, draws)


def _measure(
    p: np.ndarray, y: np.ndarray, threshold: float, samples: Sequence[np.ndarray], metrics: Mapping[str, Metric]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The report of one score whose targets are all known, and each metric's values (R,) on the drawn films."""
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
        return report, {}
    drawn = {}
    for name, metric in metrics.items():
        # A draw without any film of the label has no figure.
        drawn[name] = np.array([metric(p[r], y[r], verdict[r]) if len(r) else np.nan for r in samples])
        report["metrics"][name] = with_interval(metric(p, y, verdict), drawn[name])
    return report, drawn


def with_interval(value: float, drawn: np.ndarray) -> dict[str, float | None] | None:
    """``value`` with percentiles of those draws that have one; None where it has none itself."""
    if np.isnan(value):
        return None
    usable = drawn[~np.isnan(drawn)]
    low, high = np.percentile(usable, INTERVAL) if len(usable) else (None, None)
    return {"value": float(value), "low": _number(low), "high": _number(high)}


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def patient_resamples(ids: np.ndarray, resamples: int) -> list[np.ndarray]:
    """Row numbers of ``resamples`` draws of patients with replacement, each with all films of the drawn patients.

    The same for the same patients; kept for a while, since one report asks for them many times.
    """
    return _draws(tuple(np.asarray(ids).tolist()), resamples)


@lru_cache(maxsize=4)  # 7 MB each for a thousand films
def _draws(ids: tuple[str, ...], resamples: int) -> list[np.ndarray]:
    _, patient = np.unique(ids, return_inverse=True)
    order = np.argsort(patient, kind="stable")
    films = np.split(order, np.flatnonzero(np.diff(patient[order])) + 1)
    generator = np.random.default_rng(SEED)
    return [np.concatenate([films[i] for i in generator.integers(0, len(films), len(films))]) for _ in range(resamples)]


def summary(
    reports: Mapping[str, Mapping[str, Any]], draws: Mapping[str, Mapping[str, np.ndarray]] | None = None
) -> dict[str, Any]:
    """Means over the labels that have figures: plain ("metrics") and weighted by positives; of one label, its own.

    ``draws``: each label's metrics (R,) on the same draws of patients, from which the means' intervals are made. A
    label for which a metric is not defined is not in that mean.
    """
    usable = {name: r for name, r in reports.items() if "note" not in r}
    if not usable:
        return {"metrics": {}, "weighted": {}}
    if len(usable) == 1:
        return {"metrics": next(iter(usable.values()))["metrics"], "weighted": {}}
    means: dict[str, dict[str, Any]] = {"metrics": {}, "weighted": {}}
    for metric in next(iter(usable.values()))["metrics"]:
        defined = {name: r for name, r in usable.items() if r["metrics"][metric] is not None}
        values = np.array([[r["metrics"][metric]["value"]] for r in defined.values()])  # (labels, 1)
        drawn = np.stack([draws[name][metric] for name in defined]) if draws and defined else np.empty((len(values), 0))
        positives = np.array([r["positives"] for r in defined.values()], dtype=float)
        for kind, weights in (("metrics", np.ones_like(positives)), ("weighted", positives)):
            means[kind][metric] = with_interval(*_mean(values, weights), _mean(drawn, weights)) if defined else None
    return means


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over the first axis (labels) of the values that are defined, one for each draw."""
    masked = np.ma.masked_invalid(values)
    return np.ma.average(masked, axis=0, weights=weights).filled(np.nan)


def mean_auroc(labels: LabelSet, logits: np.ndarray, targets: np.ndarray) -> float:
    """AUROC averaged over the scores for which both classes are there; 0.5 where there is none."""
    values = []
    for score, target in zip(labels.log_odds(logits).T, labels.score_targets(targets).T, strict=True):
        known = ~np.isnan(target)
        values.append(_auroc(score[known], target[known], score[known] >= 0))
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else 0.5
