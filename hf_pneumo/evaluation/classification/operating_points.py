"""What a checkpoint would give at other thresholds: those that catch a stated share of the validation films' findings.

Screening is often asked for as "95 % sensitivity". The thresholds come from the validation films alone; the films that
are measured tell what became of the promise there, and at what price.
"""

from __future__ import annotations

import numpy as np

from hf_pneumo.evaluation.bootstrap import RESAMPLES
from hf_pneumo.evaluation.classification.metrics import METRICS, LabelReport, measure
from hf_pneumo.evaluation.predictions import Predictions

PROMISED = (0.99, 0.975, 0.95, 0.9)
MEASURED = {name: METRICS[name] for name in ("accuracy", "balanced_accuracy", "sensitivity", "specificity")}


def threshold_for(probability: np.ndarray, sensitivity: float) -> float:
    """The highest threshold that at least the share ``sensitivity`` of the positives' ``probability`` (N,) reaches."""
    return float(np.sort(probability)[_missed(len(probability), sensitivity)])


def _missed(positives: int, sensitivity: float) -> int:
    """How many of the ``positives`` may be missed."""
    return int(np.floor((1 - sensitivity) * positives + 1e-9))  # 0.05 * 20 is 1, whatever its last bits


def at_sensitivity(
    val: Predictions, predictions: Predictions, *, resamples: int = RESAMPLES
) -> dict[str, dict[str, LabelReport]]:
    """For each score, and each of :data:`PROMISED` (as "0.95"), the figures of ``predictions`` at that threshold.

    ``val``: predictions of the same checkpoint, from which the thresholds are taken. A promise that would have none of
    the validation films missed is left out: it takes 20 positives to miss one at 0.95.
    """
    scores, targets, reports = predictions.scores, predictions.targets, {}
    for i, name in enumerate(predictions.labels.score_names):
        positives = val.scores[val.targets[:, i] == 1, i]
        cuts = {str(share): threshold_for(positives, share) for share in PROMISED if _missed(len(positives), share)}
        reports[name] = {
            share: measure(
                scores[:, i], targets[:, i], cut, predictions.patients, resamples=resamples, metrics=MEASURED
            )
            for share, cut in cuts.items()
        }
    return reports
