"""The figures of predictions: each score's own, their means, and the films called right by subgroup and view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from hf_pneumo.evaluation.bootstrap import RESAMPLES
from hf_pneumo.evaluation.classification.metrics import (
    Estimates,
    LabelReport,
    MeanReport,
    means,
    measure,
    measure_labels,
)
from hf_pneumo.evaluation.predictions import Predictions
from hf_pneumo.records import JsonRecord

SMALLEST_SUBGROUP = 10


@dataclass(frozen=True)
class SubgroupReport(JsonRecord):
    """How many films of a subgroup there are, how many have the finding, and how many are called right."""

    n: int
    positives: int
    accuracy: float
    errors: int


@dataclass(frozen=True, kw_only=True)
class LabelMetrics(JsonRecord):
    """What predictions give for every score.

    The first fields say of what: the films (``failures``: those that could not be read, with the reason) and the model.
    ``metrics``: the figures of the only score, or plain means over all, with ``weighted`` ones beside them; ``labels``:
    each score's own. ``threshold``, ``positives``, ``errors`` and ``confusion`` are those of the only score.
    """

    dataset: str | None = None
    dataset_revision: str | None = None
    protocol: str | None = None
    subset: str | None = None
    model: str | None = None
    model_revision: str | None = None
    architecture: str | None = None
    failures: tuple[tuple[str, str], ...] | None = None
    n: int
    patients: int
    task: str
    temperature: float
    fitted_on: str
    threshold: float | None = None
    positives: int | None = None
    errors: int | None = None
    confusion: tuple[tuple[int, int], tuple[int, int]] | None = None
    metrics: Estimates
    weighted: Estimates = field(default_factory=dict)
    labels: dict[str, LabelReport]
    subgroups: dict[str, SubgroupReport] = field(default_factory=dict)
    views: dict[str, SubgroupReport] = field(default_factory=dict)


# The fields that say of what the figures are; all others follow from the predictions.
PROVENANCE = (
    "dataset", "dataset_revision", "protocol", "subset", "model", "model_revision", "architecture", "failures",
)  # fmt: skip


def measure_predictions(
    predictions: Predictions, provenance: Mapping[str, Any] | None = None, *, resamples: int = RESAMPLES
) -> LabelMetrics:
    """The figures of ``predictions``; ``provenance`` holds the fields of :data:`PROVENANCE` that are given."""
    labels, point, frame = predictions.labels, predictions.point, predictions.frame
    reports, mean = measure_scores(predictions, resamples=resamples)
    first = reports[labels.score_names[0]]
    alone = len(reports) == 1
    return LabelMetrics(
        **(provenance or {}),
        n=len(predictions),
        patients=frame["patient"].nunique(),
        task=labels.task,
        temperature=point.temperature,
        fitted_on=point.fitted_on,
        threshold=first.threshold if alone else None,
        positives=first.positives if alone else None,
        errors=first.errors if alone else None,
        confusion=first.confusion if alone else None,
        metrics=mean.metrics,
        weighted=mean.weighted,
        labels=reports,
        subgroups=_by_group(frame["subgroup"], predictions),
        views=_by_group(frame["view"], predictions),
    )


def measure_scores(
    predictions: Predictions, *, resamples: int = RESAMPLES
) -> tuple[dict[str, LabelReport], MeanReport]:
    """The report of each score by its name, and their means."""
    scores, targets = predictions.scores, predictions.targets
    thresholds, names = predictions.point.thresholds, predictions.labels.score_names
    if len(names) > 1:
        return measure_labels(scores, targets, thresholds, names, predictions.patients, resamples=resamples)
    alone = measure(scores[:, 0], targets[:, 0], thresholds[0], predictions.patients, resamples=resamples)
    reports = {names[0]: alone}
    return reports, means(reports)


def _by_group(groups: pd.Series, predictions: Predictions) -> dict[str, SubgroupReport]:
    """Of one score: per value of ``groups`` with at least ten films that have an answer, how many are called right."""
    if len(predictions.labels.score_names) > 1:
        return {}
    targets = predictions.targets
    right = np.where(np.isnan(targets), np.nan, predictions.positive == (targets == 1))
    decided = ~np.isnan(targets[:, 0])
    counts = {group: (groups == group).to_numpy() & decided for group in sorted(set(groups.dropna()))}
    return {
        group: SubgroupReport(
            n=int(rows.sum()),
            positives=int(np.nansum(targets[rows])),
            accuracy=float(np.nanmean(right[rows])),
            errors=int(np.nansum(1 - right[rows])),
        )
        for group, rows in counts.items()
        if rows.sum() >= SMALLEST_SUBGROUP
    }
