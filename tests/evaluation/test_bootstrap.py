"""Draws of patients, and the intervals that they give."""

from __future__ import annotations

import numpy as np
import pytest

from hf_pneumo.evaluation.bootstrap import estimate, mean_estimate, patient_resamples, patient_weights

PATIENTS = ["a", "a", "b", "c"]


def test_films_of_one_patient_are_drawn_together():
    for rows in patient_resamples(PATIENTS, 50):
        counts = np.bincount(rows, minlength=4)
        assert counts[0] == counts[1] and counts[0] + counts[2] + counts[3] == 3
    weights = patient_weights(PATIENTS, 50)
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 1:].sum(1) == 3).all()


def test_the_same_patients_give_the_same_draws():
    first, second = patient_resamples(PATIENTS, 5), patient_resamples(np.array(PATIENTS), 5)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_draws_without_the_figure_do_not_count():
    assert estimate(float("nan"), [1.0]) is None
    alone = estimate(0.5, [float("nan")])
    assert (alone.value, alone.low, alone.high) == (0.5, None, None)
    assert estimate(0.5, [0.0, float("nan"), 1.0]).high == pytest.approx(0.975)


def test_a_constant_has_no_spread():
    found = mean_estimate(np.full(4, 0.25), patient_weights(PATIENTS, 20))
    assert (found.value, found.low, found.high) == (0.25, 0.25, 0.25)
