"""Fitting an operating point: which films a threshold is chosen on."""

from __future__ import annotations

import numpy as np
from scipy.special import logit

from hf_pneumo.data.labels import OPACITY
from hf_pneumo.evaluation.classification.calibration import best_cut, fit_operating_point


def test_the_cut_lies_between_the_finding_and_normal_films_whatever_lies_between():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 200)
    logits = np.zeros((600, 3))
    logits[:, 2] = rng.normal(np.array([-3.0, 2.0, 3.0])[labels], 1.0)  # films of the middle label look ill
    point = fit_operating_point(logits, labels, OPACITY, fitted_on="made up")
    odds = OPACITY.log_odds(logits, point.temperature)[:, 0]
    clear = labels != 1
    assert np.isclose(
        logit(point.thresholds[0]), best_cut(odds[clear], (labels[clear] == 2) * 1.0, "balanced_accuracy")
    )
    called = odds >= logit(point.thresholds[0])
    assert called[labels == 2].mean() > 0.97 and called[labels == 0].mean() < 0.03
