"""Several labels that stand for one finding, read in order: first whether it is there, then what caused it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hf_pneumo.evaluation.bootstrap import RESAMPLES, estimate
from hf_pneumo.evaluation.classification.metrics import HALF, METRICS, Estimates, LabelReport, measure
from hf_pneumo.evaluation.predictions import Predictions
from hf_pneumo.records import JsonRecord

CAUSE_METRICS = {name: METRICS[name] for name in ("auroc", "auprc", "accuracy", "balanced_accuracy", "brier")}


@dataclass(frozen=True, kw_only=True)
class MulticlassReport(JsonRecord):
    """How well the causes of a finding are read.

    A film below the finding's threshold is read as the likeliest label that is not the finding (normal, where there is
    no other), any other film as its likeliest cause. ``confusion``: truth by
    row, reading by column, both in the order of ``labels``. ``metrics`` of all films: accuracy and balanced accuracy
    (the mean over the labels of the share read right). ``told_apart``: among the films that truly have the finding,
    each cause's probability given the finding against the other causes, at 0.5; of two causes the first alone, as the
    second's mirrors it.
    """

    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    errors: int
    metrics: Estimates
    told_apart: dict[str, LabelReport]


def measure_causes(predictions: Predictions, *, resamples: int = RESAMPLES) -> MulticlassReport | None:
    """The report of ``predictions``, with intervals by patient; None where the labels name fewer than two causes."""
    labels, point = predictions.labels, predictions.point
    if not labels.exclusive or len(labels.names) < 3:
        return None
    truth, patients, count = predictions.label, predictions.patients, len(labels.names)
    of_cause, without = np.flatnonzero(labels.positive), np.flatnonzero(~labels.positive)
    probability = predictions.probabilities  # (N, K)
    called = labels.scores(predictions.logits, point.temperature)[:, 0] >= point.thresholds[0]
    read = np.where(called, *(own[probability[:, own].argmax(axis=1)] for own in (of_cause, without)))

    right = read == truth
    draws = predictions.resamples(resamples)
    figures = {
        "accuracy": lambda rows: float(right[rows].mean()),
        "balanced_accuracy": lambda rows: _mean_recall(truth[rows], right[rows], count),
    }
    ill = labels.positive[truth]
    given = probability[ill] / probability[ill][:, of_cause].sum(axis=1, keepdims=True)
    confusion = np.bincount(truth * count + read, minlength=count**2).reshape(count, count)
    return MulticlassReport(
        labels=tuple(labels.names),
        confusion=tuple(map(tuple, confusion.tolist())),
        errors=int((~right).sum()),
        metrics={
            name: estimate(figure(np.arange(len(truth))), [figure(rows) for rows in draws])
            for name, figure in figures.items()
        },
        told_apart={
            labels.names[cause]: measure(
                given[:, cause],
                (truth[ill] == cause).astype(float),
                HALF,
                patients[ill],
                resamples=resamples,
                metrics=CAUSE_METRICS,
            )
            for cause in of_cause[: len(of_cause) - 1 if len(of_cause) < 3 else None]
        },
    )


def _mean_recall(truth: np.ndarray, right: np.ndarray, count: int) -> float:
    """Mean over the labels of the share read right; NaN where one has no film."""
    films, hits = np.bincount(truth, minlength=count), np.bincount(truth[right], minlength=count)
    return float((hits / films).mean()) if films.all() else float("nan")
