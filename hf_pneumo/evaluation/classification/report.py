"""All that a results file holds, from predictions alone: what was measured once can be measured again by anyone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hf_pneumo.evaluation.bootstrap import RESAMPLES
from hf_pneumo.evaluation.classification.conformal import (
    COVERAGE,
    ConformalReport,
    compare_methods,
    fit_sets,
    measure_sets,
)
from hf_pneumo.evaluation.classification.contrasts import measure_contrasts
from hf_pneumo.evaluation.classification.duplicates import DistinctReport, measure_distinct
from hf_pneumo.evaluation.classification.label_metrics import LabelMetrics, measure_predictions
from hf_pneumo.evaluation.classification.metrics import LabelReport
from hf_pneumo.evaluation.classification.multiclass import MulticlassReport, measure_causes
from hf_pneumo.evaluation.classification.operating_points import at_sensitivity
from hf_pneumo.evaluation.classification.selective import SelectiveReport, measure_abstaining
from hf_pneumo.evaluation.classification.subgroups import GroupReport, by_group
from hf_pneumo.evaluation.predictions import Predictions
from hf_pneumo.models.config import CheckpointConfig
from hf_pneumo.models.prediction_sets import PredictionSets
from hf_pneumo.records import JsonRecord

EXTERNAL = "external"  # protocol and subset of films from elsewhere


@dataclass(frozen=True)
class SuspectReport(JsonRecord):
    """How many films the checkpoint's check takes for other pictures, and their share."""

    n: int
    share: float


@dataclass(frozen=True, kw_only=True)
class ClassificationReport(LabelMetrics):
    """One results file: the figures of all films, and what else their predictions allow.

    ``selective``: by score, what abstaining buys. ``causes``: of a task of several labels that exclude each other.
    ``contrasts``: the finding against each other label, where some lie between it and normal. ``at_sensitivity``: by
    score and promised sensitivity on val, other thresholds. ``conformal``: the prediction sets. ``distinct``: without
    duplicates. ``groups``: external films, and those of a task with such contrasts, by view, sex and age. ``suspect``:
    the check for other pictures.
    """

    selective: dict[str, SelectiveReport] = field(default_factory=dict)
    causes: MulticlassReport | None = None
    contrasts: dict[str, dict[str, LabelReport]] | None = None
    at_sensitivity: dict[str, dict[str, LabelReport]] | None = None
    conformal: ConformalReport | None = None
    distinct: DistinctReport | None = None
    groups: dict[str, dict[str, GroupReport]] | None = None
    suspect: SuspectReport | None = None


def full_report(
    predictions: Predictions,
    provenance: Mapping[str, Any] | None = None,
    *,
    val: Predictions | None = None,
    resamples: int = RESAMPLES,
) -> ClassificationReport:
    """All figures of ``predictions``; ``provenance`` as for `measure_predictions`.

    ``val``: the same checkpoint's predictions on the films that it was fitted on; without them there are no other
    thresholds and no other methods beside the prediction sets.
    """
    point, protocol = predictions.point, (provenance or {}).get("protocol")
    figures = measure_predictions(predictions, provenance, resamples=resamples)
    others = None
    if val is not None and point.sets is not None:
        others = compare_methods(val, predictions, point.sets.coverage)
    return ClassificationReport(
        **vars(figures),
        selective=measure_abstaining(predictions, resamples=resamples),
        causes=measure_causes(predictions, resamples=resamples),
        contrasts=measure_contrasts(predictions, resamples=resamples),
        at_sensitivity=at_sensitivity(val, predictions, resamples=resamples) if val is not None else None,
        conformal=measure_sets(predictions, resamples=resamples, methods=others) if point.sets is not None else None,
        distinct=measure_distinct(predictions, figures, resamples=resamples) if "digest" in predictions else None,
        groups=by_group(predictions, resamples=resamples)
        if protocol == EXTERNAL or predictions.labels.between
        else None,
        suspect=_suspect(predictions),
    )


def _suspect(predictions: Predictions) -> SuspectReport | None:
    if "suspicion" not in predictions:
        return None
    suspect = (predictions.frame["suspicion"] > 0).to_numpy()
    return SuspectReport(int(suspect.sum()), float(suspect.mean()))


def sets_from(val: Predictions, config: CheckpointConfig, *, coverage: float = COVERAGE) -> PredictionSets:
    """The prediction sets that the validation predictions ``val`` give at the checkpoint's temperature."""
    return fit_sets(
        val.logits,
        val.label,
        config.labels,
        config.operating_point.temperature,
        coverage=coverage,
        fitted_on=f"{config.data.protocol}/val",
    )
