"""Results by view, sex and age: a figure over all films can hide that a model fails on some of them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.evaluation.classification.metrics import RESAMPLES, measure, summary
from hf_pneumo.evaluation.results import scores_and_targets
from hf_pneumo.models.checkpoint import OperatingPoint

AGES = {"under 18": (0, 18), "18 to 39": (18, 40), "40 to 59": (40, 60), "60 and over": (60, 200)}  # years
COLUMNS = ("view", "sex", "age")


def by_group(
    frame: pd.DataFrame, labels: LabelSet, point: OperatingPoint, *, resamples: int = RESAMPLES
) -> dict[str, dict[str, Any]]:
    """{column: {value: figures}} for every column of COLUMNS in which the films of ``frame`` differ.

    The figures are those of `metrics.measure`, prevalence among them, at the operating point's thresholds; means over
    the labels where there are several.
    """
    scores, targets = scores_and_targets(frame, labels)
    patients = frame["patient"].to_numpy()
    report: dict[str, dict[str, Any]] = {}
    for column in COLUMNS:
        values = _values(frame, column)
        found = {}
        for value in (v for v in (*AGES, *sorted(set(values.dropna()) - set(AGES))) if (values == v).any()):
            rows = (values == value).to_numpy()
            own = {
                name: measure(
                    scores[rows, i], targets[rows, i], point.thresholds[i], patients[rows], resamples=resamples
                )
                for i, name in enumerate(labels.score_names)
            }
            found[value] = own[labels.score_names[0]] if len(own) == 1 else {"n": int(rows.sum()), **summary(own)}
        if len(found) > 1:
            report[column] = found
    return report


def _values(frame: pd.DataFrame, column: str) -> pd.Series:
    """The group of every film, missing where it is not known."""
    if column not in frame:
        return pd.Series([None] * len(frame), dtype=object)
    if column != "age":
        return frame[column].astype(object)
    edges = [low for low, _ in AGES.values()] + [list(AGES.values())[-1][1]]
    return pd.cut(frame["age"].astype(float), edges, right=False, labels=list(AGES)).astype(object)
