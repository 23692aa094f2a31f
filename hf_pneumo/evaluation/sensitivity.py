"""What a checkpoint would give at other thresholds: those that catch a stated share of the validation films' findings.

Screening is often asked for as "95 % sensitivity". The thresholds come from the validation films alone; the films that
are measured tell what became of the promise there, and at what price.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.evaluation.metrics import METRICS, RESAMPLES, measure

PROMISED = (0.99, 0.975, 0.95, 0.9)
MEASURED = {name: METRICS[name] for name in ("accuracy", "balanced_accuracy", "sensitivity", "specificity")}


def threshold_for(probability: np.ndarray, sensitivity: float) -> float:
    """The highest threshold that at least the share ``sensitivity`` of the positives' ``probability`` (N,) reaches."""
    missed = int(np.floor((1 - sensitivity) * len(probability) + 1e-9))  # 0.05 * 20 is 1, whatever its last bits
    return float(np.sort(probability)[missed])


def at_sensitivity(
    val: pd.DataFrame, frame: pd.DataFrame, labels: LabelSet, *, resamples: int = RESAMPLES
) -> dict[str, dict[str, Any]]:
    """For each score, and each of :data:`PROMISED` (as "0.95"), `metrics.measure` of ``frame`` at that threshold.

    ``val`` and ``frame``: predictions of the same checkpoint. A promise that would have none of the validation films
    missed is left out: it takes 20 positives to miss one at 0.95.
    """
    known = labels.score_targets(np.array(val["label"].to_list()))
    truth = labels.score_targets(np.array(frame["label"].to_list()))
    fitted = np.array(val["probability"].to_list()).reshape(known.shape)
    probability = np.array(frame["probability"].to_list()).reshape(truth.shape)
    patients, found = frame["patient"].to_list(), {}
    for i, name in enumerate(labels.score_names):
        positives = fitted[known[:, i] == 1, i]
        found[name] = {
            str(share): measure(
                probability[:, i], truth[:, i], threshold_for(positives, share), patients,
                resamples=resamples, metrics=MEASURED,
            )
            for share in PROMISED
            if (1 - share) * len(positives) >= 1 - 1e-9
        }  # fmt: skip
    return found
