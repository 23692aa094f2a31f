"""Thresholds that catch a stated share of the positives."""

from __future__ import annotations

import numpy as np

from hf_pneumo.evaluation.classification.operating_points import threshold_for


def test_the_threshold_lets_as_many_slip_as_the_promise_allows():
    p = np.arange(1, 21) / 20
    assert threshold_for(p, 0.95) == 0.1 and (p >= threshold_for(p, 0.95)).mean() == 0.95
    assert threshold_for(p, 0.99) == 0.05 and threshold_for(p[::-1], 0.9) == threshold_for(p, 0.9)
