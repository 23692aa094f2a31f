"""Results: predictions as parquet, and from them alone the results JSON and the figures."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.evaluation.classification.metrics import RESAMPLES, measure, measure_labels, summary
from hf_pneumo.models.checkpoint import OperatingPoint, write_json

SMALLEST_SUBGROUP = 10


def predictions(table: Dataset, logits: np.ndarray, labels: LabelSet, point: OperatingPoint) -> pd.DataFrame:
    """One row per film: file_name, patient, subgroup, view, age and sex if known, label, logits (list), probability.

    ``probability`` is calibrated: one number where there is one score, else a list in the order of the labels.
    """
    scores = labels.scores(logits, point.temperature)
    return pd.DataFrame(
        {
            "file_name": table["file_name"],
            "patient": table["patient"],
            "subgroup": table["subgroup"],
            "view": table["view"],
            **{column: table[column] for column in ("age", "sex") if column in table.column_names},
            "label": list(table["label"]),
            "logits": [row.tolist() for row in np.asarray(logits, dtype=np.float32)],
            "probability": scores[:, 0] if scores.shape[1] == 1 else [row.tolist() for row in scores],
        }
    )


def scores_and_targets(frame: pd.DataFrame, labels: LabelSet) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated scores (N, S), and targets (N, S) as of `LabelSet.score_targets`, of :func:`predictions`."""
    scores = np.stack(frame["probability"].map(np.atleast_1d).to_list())
    return scores, labels.score_targets(np.array(frame["label"].to_list()))


def results(
    frame: pd.DataFrame,
    labels: LabelSet,
    point: OperatingPoint,
    about: Mapping[str, Any],
    *,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """The results of ``frame`` (see :func:`predictions`), JSON-ready; ``about`` says of what and is put first.

    "metrics" holds the figures of the only score, or plain means over all, with "weighted" ones; "labels" each
    score's own, of several also at 0.5; "subgroups" the figures of each subgroup: sensitivity or specificity where it
    has one class only.
    """
    scores, targets = scores_and_targets(frame, labels)
    patients = frame["patient"].to_list()
    names = labels.score_names
    if len(names) == 1:
        per_label = {names[0]: measure(scores[:, 0], targets[:, 0], point.thresholds[0], patients, resamples=resamples)}
        means = summary(per_label)
    else:
        per_label, means = measure_labels(scores, targets, point.thresholds, names, patients, resamples=resamples)
    first = per_label[names[0]]
    single = {k: first[k] for k in ("threshold", "positives", "errors", "confusion")} if len(per_label) == 1 else {}
    return {
        **about,
        "n": len(frame),
        "patients": frame["patient"].nunique(),
        "task": labels.task,
        "temperature": point.temperature,
        "fitted_on": point.fitted_on,
        **single,
        **means,
        "labels": per_label,
        "subgroups": _by_group(frame["subgroup"], scores, targets, labels, point),
        "views": _by_group(frame["view"], scores, targets, labels, point),
    }


def _by_group(
    groups: pd.Series, scores: np.ndarray, targets: np.ndarray, labels: LabelSet, point: OperatingPoint
) -> dict[str, Any]:
    """Per value of ``groups`` with at least ten films: how many, and the share called right at the threshold."""
    report = {}
    thresholds = np.array(point.thresholds)
    right = np.where(np.isnan(targets), np.nan, (scores >= thresholds) == (targets == 1))
    for group in sorted(set(groups.dropna())):
        rows = (groups == group).to_numpy()
        if rows.sum() >= SMALLEST_SUBGROUP and len(labels.score_names) == 1:
            report[group] = {
                "n": int(rows.sum()),
                "positives": int(np.nansum(targets[rows])),
                "accuracy": float(np.nanmean(right[rows])),
                "errors": int(np.nansum(1 - right[rows])),
            }
    return report


def write_predictions(path: Path, frame: pd.DataFrame) -> None:
    """Write the predictions to the parquet file ``path``, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    frame.to_parquet(temporary, index=False)
    os.replace(temporary, path)


def read_results(path: Path) -> dict[str, Any]:
    """Read a results file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_results(path: Path, report: Mapping[str, Any]) -> None:
    """Write a results file, whole or not at all."""
    write_json(path, report)
