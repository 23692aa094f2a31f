"""Results on distinct films: a film that is there twice counts once, one that was learnt from does not count at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hf_pneumo.data.splits import Parts
from hf_pneumo.evaluation.bootstrap import RESAMPLES
from hf_pneumo.evaluation.classification.label_metrics import LabelMetrics, measure_predictions
from hf_pneumo.evaluation.classification.metrics import Estimates
from hf_pneumo.evaluation.predictions import Predictions
from hf_pneumo.records import JsonRecord

DIGITS = 16  # of a film's digest in the predictions: 64 bits never coincide by chance among films


def shortened(digests: Sequence[str]) -> list[str]:
    """Digests as predictions hold them."""
    return [digest[:DIGITS] for digest in digests]


def identical_to(digests: Sequence[str], parts: Parts, subset: str) -> list[str | None]:
    """For every film of ``subset``: "train" or "val" where a pixel-identical film stands there, too, else None."""
    others = [name for name in ("train", "val") if name != subset]
    known = {digests[row]: name for name in reversed(others) for row in parts[name]}
    return [known.get(digests[row]) for row in parts[subset]]


@dataclass(frozen=True)
class RemovedFilms(JsonRecord):
    """How many films stand there once more, and how many of the rest stand in train or val, too."""

    repeated: int
    seen: int


@dataclass(frozen=True, kw_only=True)
class DistinctReport(JsonRecord):
    """The figures without the ``removed`` films."""

    removed: RemovedFilms
    n: int
    patients: int
    errors: int | None = None
    metrics: Estimates


def measure_distinct(
    predictions: Predictions, all_films: LabelMetrics, *, resamples: int = RESAMPLES
) -> DistinctReport:
    """Figures of ``predictions`` (with digest and, where it is known, identical_to) without the duplicates.

    ``all_films``: the figures of all of them, which stand where nothing has to be removed.
    """
    frame = predictions.frame
    repeated = frame["digest"].duplicated().to_numpy()
    seen = frame["identical_to"].notna().to_numpy() if "identical_to" in predictions else np.zeros(len(frame), bool)
    distinct = ~(repeated | seen)
    figures = all_films
    if not distinct.all():
        figures = measure_predictions(predictions.select(distinct), resamples=resamples)
    return DistinctReport(
        removed=RemovedFilms(int((repeated & ~seen).sum()), int(seen.sum())),
        n=figures.n,
        patients=figures.patients,
        errors=figures.errors,
        metrics=figures.metrics,
    )
