"""Results by view, sex and age: a figure over all films can hide that a model fails on some of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from hf_pneumo.evaluation.bootstrap import RESAMPLES
from hf_pneumo.evaluation.classification.metrics import Estimates, means, measure
from hf_pneumo.evaluation.predictions import Predictions
from hf_pneumo.records import JsonRecord

AGES = {"under 18": (0, 18), "18 to 39": (18, 40), "40 to 59": (40, 60), "60 and over": (60, 200)}  # years
COLUMNS = ("view", "sex", "age")


@dataclass(frozen=True, kw_only=True)
class GroupReport(JsonRecord):
    """The figures of the films of one group; of several labels the means alone, in ``metrics`` and ``weighted``."""

    n: int
    positives: int | None = None
    prevalence: float | None = None
    threshold: float | None = None
    errors: int | None = None
    confusion: tuple[tuple[int, int], tuple[int, int]] | None = None
    metrics: Estimates = field(default_factory=dict)
    weighted: Estimates = field(default_factory=dict)
    note: str | None = None


def by_group(predictions: Predictions, *, resamples: int = RESAMPLES) -> dict[str, dict[str, GroupReport]]:
    """{column: {value: figures}} for every column of COLUMNS in which the films differ, at the point's thresholds."""
    reports: dict[str, dict[str, GroupReport]] = {}
    for column in COLUMNS:
        values = _values(predictions.frame, column)
        present = (v for v in (*AGES, *sorted(set(values.dropna()) - set(AGES))) if (values == v).any())
        groups = {v: _measure(predictions.select((values == v).to_numpy()), resamples) for v in present}
        if len(groups) > 1:
            reports[column] = groups
    return reports


def _measure(predictions: Predictions, resamples: int) -> GroupReport:
    point, names = predictions.point, predictions.labels.score_names
    reports = {
        name: measure(
            predictions.scores[:, i],
            predictions.targets[:, i],
            point.thresholds[i],
            predictions.patients,
            resamples=resamples,
        )
        for i, name in enumerate(names)
    }
    if len(reports) > 1:
        mean = means(reports)
        return GroupReport(n=len(predictions), metrics=mean.metrics, weighted=mean.weighted)
    figures = vars(reports[names[0]])
    return GroupReport(**{name: figures[name] for name in figures if name != "at_half"})


def _values(frame: pd.DataFrame, column: str) -> pd.Series:
    """The group of every film, missing where it is not known."""
    if column not in frame:
        return pd.Series([None] * len(frame), dtype=object)
    if column != "age":
        return frame[column].astype(object)
    edges = [low for low, _ in AGES.values()] + [list(AGES.values())[-1][1]]
    return pd.cut(frame["age"].astype(float), edges, right=False, labels=list(AGES)).astype(object)
