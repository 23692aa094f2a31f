"""Quantiles and coverage of prediction sets, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.evaluation.classification.conformal import (
    adaptive,
    conformal_quantile,
    fit_quantiles,
    fit_sets,
    least_ambiguous,
)


def test_the_quantile_is_the_one_that_the_theorem_asks_for():
    scores = np.arange(1, 20) / 20  # 19 of them: ceil(20 * 0.95) is the 19th
    assert conformal_quantile(scores, 0.95) == 0.95 and conformal_quantile(scores, 0.5) == 0.5
    assert math.isinf(conformal_quantile(scores[:-1], 0.95))


def test_the_likeliest_answer_fits_best():
    p = np.array([[0.7, 0.3]])
    assert least_ambiguous(p).tolist() == [[pytest.approx(0.3), pytest.approx(0.7)]]
    np.testing.assert_allclose(adaptive(p, np.array([0.5])), [[0.35, 0.85]])


def test_answers_with_too_few_films_keep_every_set_whole():
    scores, truth = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]]), np.array([0, 0, -1])
    assert fit_quantiles(scores, truth, 0.95, by_class=True).tolist() == [1, 1]
    assert fit_quantiles(scores, truth, 0.5, by_class=False).tolist() == [0.2, 0.2]


def test_a_coverage_that_is_no_share_is_refused():
    with pytest.raises(ValueError, match="give a share between 0 and 1"):
        fit_sets(np.zeros((2, 2)), np.array([0, 1]), PNEUMONIA, 1.0, coverage=1.0, fitted_on="val")
