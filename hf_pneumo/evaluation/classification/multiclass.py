"""Several labels that stand for one finding, read in order: first whether it is there, then what caused it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.evaluation.classification.metrics import (
    HALF,
    METRICS,
    RESAMPLES,
    measure,
    patient_resamples,
    with_interval,
)
from hf_pneumo.models.checkpoint import OperatingPoint

TOLD_APART = {name: METRICS[name] for name in ("auroc", "auprc", "accuracy", "balanced_accuracy", "brier")}


def causes(
    frame: pd.DataFrame, labels: LabelSet, point: OperatingPoint, *, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """How well the causes of the finding are read from predictions; empty where the labels name fewer than two.

    A film below the finding's threshold is read as normal, any other as its likeliest cause: "confusion" (truth by
    row, reading by column, both in the order of "labels"), "errors", and "metrics" of all films: accuracy and balanced
    accuracy (the mean over the labels of the share read right). "told_apart": among the films that truly have the
    finding, each cause's probability given the finding against the other causes, at 0.5; of two causes the first alone,
    as the second's mirrors it. 95 % intervals by patient.
    """
    if not labels.exclusive or len(labels.names) < 3:
        return {}
    logits, truth = np.stack(frame["logits"].to_list()), frame["label"].to_numpy()
    normal, patients = labels.names.index(labels.normal), frame["patient"].to_numpy()
    of_cause = np.array([i for i in range(len(labels.names)) if i != normal])
    probability = labels.probabilities(logits, point.temperature)  # (N, K)
    called = labels.scores(logits, point.temperature)[:, 0] >= point.thresholds[0]
    read = np.where(called, of_cause[probability[:, of_cause].argmax(axis=1)], normal)

    count = len(labels.names)
    right = read == truth
    draws = patient_resamples(patients, resamples)
    figures = {
        "accuracy": lambda rows: float(right[rows].mean()),
        "balanced_accuracy": lambda rows: _mean_recall(truth[rows], right[rows], count),
    }
    ill = truth != normal
    given = probability[ill] / probability[ill][:, of_cause].sum(axis=1, keepdims=True)
    return {
        "labels": list(labels.names),
        "confusion": np.bincount(truth * count + read, minlength=count**2).reshape(count, count).tolist(),
        "errors": int((~right).sum()),
        "metrics": {
            name: with_interval(figure(np.arange(len(truth))), np.array([figure(rows) for rows in draws]))
            for name, figure in figures.items()
        },
        "told_apart": {
            labels.names[cause]: measure(
                given[:, cause],
                (truth[ill] == cause).astype(float),
                HALF,
                patients[ill],
                resamples=resamples,
                metrics=TOLD_APART,
            )
            for cause in of_cause[: 1 if len(of_cause) == 2 else None]
        },
    }


def _mean_recall(truth: np.ndarray, right: np.ndarray, count: int) -> float:
    """Mean over the labels of the share read right; NaN where one has no film."""
    films, hits = np.bincount(truth, minlength=count), np.bincount(truth[right], minlength=count)
    return float((hits / films).mean()) if films.all() else float("nan")
