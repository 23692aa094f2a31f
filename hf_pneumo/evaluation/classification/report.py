"""All that a results file holds, from predictions alone: what was measured once can be measured again by anyone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hf_pneumo.evaluation.classification.conformal import COVERAGE, compare_methods, fit_sets, measure_sets
from hf_pneumo.evaluation.classification.duplicates import distinct
from hf_pneumo.evaluation.classification.metrics import RESAMPLES
from hf_pneumo.evaluation.classification.multiclass import causes
from hf_pneumo.evaluation.classification.operating_points import at_sensitivity
from hf_pneumo.evaluation.classification.selective import selective
from hf_pneumo.evaluation.classification.subgroups import by_group
from hf_pneumo.evaluation.results import results
from hf_pneumo.models.checkpoint import CheckpointConfig
from hf_pneumo.models.prediction_sets import PredictionSets

EXTERNAL = "external"  # protocol and subset of films from elsewhere
# What a results file says of the films and the model; all else in it follows from the predictions.
ABOUT = (
    "dataset", "dataset_revision", "protocol", "subset", "model", "model_revision", "architecture", "failures",
)  # fmt: skip


def full_report(
    frame: pd.DataFrame,
    config: CheckpointConfig,
    about: Mapping[str, Any],
    *,
    val: pd.DataFrame | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """`results.results` of ``frame`` with what else its columns allow, JSON-ready.

    Always "selective" (see there); "causes" of a finding that has several labels; "conformal" where the checkpoint has
    prediction sets; with its ``val`` predictions also "at_sensitivity", other thresholds, and other methods beside the
    sets; "distinct" where the films' digests are known; "groups" of external films; "suspect" where the checkpoint can
    tell films from other pictures.
    """
    labels, point = config.labels, config.operating_point
    report = results(frame, labels, point, about, resamples=resamples)
    if found := causes(frame, labels, point, resamples=resamples):
        report["causes"] = found
    report["selective"] = selective(frame, labels, point, resamples=resamples)
    if val is not None:
        report["at_sensitivity"] = at_sensitivity(val, frame, labels, resamples=resamples)
    if point.sets is not None:
        report["conformal"] = measure_sets(frame, labels, point, resamples=resamples)
        if val is not None:
            report["conformal"]["methods"] = compare_methods(val, frame, labels, point, point.sets.coverage)
    if "digest" in frame:
        report["distinct"] = distinct(frame, labels, point, report, resamples=resamples)
    if about.get("protocol") == EXTERNAL:
        report["groups"] = by_group(frame, labels, point, resamples=resamples)
    if "suspicion" in frame:
        suspect = (frame["suspicion"] > 0).to_numpy()
        report["suspect"] = {"n": int(suspect.sum()), "share": float(suspect.mean())}
    return report


def val_predictions(folder: Path, config: CheckpointConfig) -> pd.DataFrame | None:
    """The predictions on the films that the checkpoint ``folder`` was fitted on; None where none are kept."""
    path = folder / "predictions" / f"{config.data.get('protocol')}-val.parquet"
    return pd.read_parquet(path) if path.is_file() else None


def sets_from(val: pd.DataFrame, config: CheckpointConfig, *, coverage: float = COVERAGE) -> PredictionSets:
    """The prediction sets that the validation predictions ``val`` give at the checkpoint's temperature."""
    return fit_sets(
        np.stack(val["logits"].to_list()),
        np.array(val["label"].to_list()),
        config.labels,
        config.operating_point.temperature,
        coverage=coverage,
        fitted_on=f"{config.data.get('protocol')}/val",
    )
