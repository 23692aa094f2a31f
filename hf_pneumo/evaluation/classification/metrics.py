"""Metrics of predictions with 95 % intervals by a bootstrap over patients: films of one child are not independent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.stats import rankdata

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.evaluation.bootstrap import RESAMPLES, estimate, patient_resamples
from hf_pneumo.evaluation.classification.calibration import expected_calibration_error
from hf_pneumo.evaluation.estimate import Estimate
from hf_pneumo.records import JsonRecord

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


Estimates = dict[str, Estimate | None]  # by metric; None where it is not defined


@dataclass(frozen=True, kw_only=True)
class CutReport(JsonRecord):
    """What becomes of a score at one threshold: confusion matrix, rows the truth (absent, present), and metrics."""

    threshold: float
    confusion: tuple[tuple[int, int], tuple[int, int]]
    metrics: Estimates


@dataclass(frozen=True, kw_only=True)
class LabelReport(JsonRecord):
    """The figures of one score over n films of which the label is known.

    ``note`` says why there are no metrics, where films are too few. ``at_half``: the same score at 0.5, where several
    labels are measured.
    """

    n: int
    positives: int
    prevalence: float | None
    threshold: float
    errors: int
    confusion: tuple[tuple[int, int], tuple[int, int]]
    metrics: Estimates
    note: str | None = None
    at_half: CutReport | None = None

    def value(self, metric: str) -> float:
        """The figure alone. Raises ValueError where there is none."""
        found = self.metrics.get(metric)
        if found is None:
            raise ValueError(f"`metric` {metric!r} is not defined here: {self.note or 'no film is called positive'}")
        return found.value


@dataclass(frozen=True)
class MeanReport(JsonRecord):
    """Means over labels: plain, and weighted by each label's positives; of one label, its own figures."""

    metrics: Estimates = field(default_factory=dict)
    weighted: Estimates = field(default_factory=dict)


def measure(
    probability: np.ndarray,
    target: np.ndarray,
    threshold: float,
    patients: Sequence[str] | np.ndarray,
    *,
    resamples: int = RESAMPLES,
    metrics: Mapping[str, Metric] = METRICS,
) -> LabelReport:
    """All ``metrics`` of one score over N films with intervals, and the confusion matrix.

    ``probability`` in [0, 1]; ``target`` 0, 1 or NaN (not known, left out); a film is called positive from
    ``threshold`` on. Metrics that need both classes are None where one has fewer than five films ("note" says so),
    and any metric where it is not defined, as precision is where nothing is called.
    """
    labelled = ~np.isnan(target)
    samples = patient_resamples(np.asarray(patients)[labelled], resamples)
    return _measure(probability[labelled], target[labelled], threshold, samples, metrics)[0]


def measure_labels(
    probability: np.ndarray,
    target: np.ndarray,
    thresholds: Sequence[float],
    names: Sequence[str],
    patients: Sequence[str] | np.ndarray,
    *,
    resamples: int = RESAMPLES,
) -> tuple[dict[str, LabelReport], MeanReport]:
    """Several scores (N, S) of N films: each score's `measure`, also at 0.5, and their `means`, by the same draws."""
    samples = patient_resamples(patients, resamples)
    reports, draws = {}, {}
    for i, name in enumerate(names):
        labelled = ~np.isnan(target[:, i])
        place = np.cumsum(labelled) - 1  # of a film among those whose label is known
        rows = [place[sample[labelled[sample]]] for sample in samples]
        p, y = probability[labelled, i], target[labelled, i]
        report, draws[name] = _measure(p, y, thresholds[i], rows, METRICS)
        half, _ = _measure(p, y, HALF, rows, AT_HALF)
        cut = CutReport(threshold=half.threshold, confusion=half.confusion, metrics=half.metrics)
        reports[name] = replace(report, at_half=cut)
    return reports, means(reports, draws)


def _measure(
    p: np.ndarray, y: np.ndarray, threshold: float, samples: Sequence[np.ndarray], metrics: Mapping[str, Metric]
) -> tuple[LabelReport, dict[str, np.ndarray]]:
    """The report of one score whose targets are all known, and each metric's values (R,) on the drawn films."""
    verdict = p >= threshold
    positives, negatives = int((y == 1).sum()), int((y == 0).sum())
    report = LabelReport(
        n=len(y),
        positives=positives,
        prevalence=positives / len(y) if len(y) else None,
        threshold=threshold,
        errors=int((verdict != (y == 1)).sum()),
        confusion=(
            (int((~verdict & (y == 0)).sum()), int((verdict & (y == 0)).sum())),
            (int((~verdict & (y == 1)).sum()), int((verdict & (y == 1)).sum())),
        ),
        metrics=dict.fromkeys(metrics),
    )
    if min(positives, negatives) < FEWEST:
        return replace(report, note=f"{positives} positive and {negatives} negative films are too few for figures"), {}
    # A draw without any film of the label has no figure.
    drawn = {
        name: np.array([metric(p[r], y[r], verdict[r]) if len(r) else np.nan for r in samples])
        for name, metric in metrics.items()
    }
    estimates = {name: estimate(metric(p, y, verdict), drawn[name]) for name, metric in metrics.items()}
    return replace(report, metrics=estimates), drawn


def means(
    reports: Mapping[str, LabelReport], draws: Mapping[str, Mapping[str, np.ndarray]] | None = None
) -> MeanReport:
    """Means over the labels that have figures, plain and weighted by positives.

    ``draws``: each label's metrics (R,) on the same draws of patients, from which the means' intervals are made. A
    label for which a metric is not defined is not in that mean.
    """
    usable = {name: report for name, report in reports.items() if report.note is None}
    if not usable:
        return MeanReport()
    first = next(iter(usable.values()))
    if len(usable) == 1:
        return MeanReport(first.metrics)
    plain: Estimates = {}
    weighted: Estimates = {}
    for metric in first.metrics:
        defined = {name: (report, found) for name, report in usable.items() if (found := report.metrics[metric])}
        values = np.array([[found.value] for _, found in defined.values()])  # (labels, 1)
        drawn = np.stack([draws[name][metric] for name in defined]) if draws and defined else np.empty((len(values), 0))
        positives = np.array([report.positives for report, _ in defined.values()], dtype=float)
        for kind, weights in ((plain, np.ones_like(positives)), (weighted, positives)):
            kind[metric] = estimate(_mean(values, weights)[0], _mean(drawn, weights)) if defined else None
    return MeanReport(plain, weighted)


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over the first axis (labels) of the values that are defined, one for each draw."""
    masked = np.ma.masked_invalid(values)
    return np.ma.filled(np.ma.average(masked, axis=0, weights=weights), np.nan)


def mean_auroc(labels: LabelSet, logits: np.ndarray, targets: np.ndarray) -> float:
    """AUROC averaged over the scores for which both classes are there; 0.5 where there is none."""
    values = []
    for score, target in zip(labels.log_odds(logits).T, labels.score_targets(targets).T, strict=True):
        known = ~np.isnan(target)
        values.append(_auroc(score[known], target[known], score[known] >= 0))
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else 0.5
