"""Risk and coverage of films left to a person."""

from __future__ import annotations

import numpy as np
import pytest

from hf_pneumo.data.labels import MULTILABEL, PNEUMONIA
from hf_pneumo.evaluation.classification.selective import aurc, margin, predictive_entropy, risk_coverage

WRONG = np.array([False, False, True, True])


def test_the_risk_of_the_surest_films():
    coverage, risk = risk_coverage(np.array([4, 3, 2, 1]), WRONG)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1] and risk.tolist() == [0, 0, pytest.approx(1 / 3), 0.5]
    assert aurc(np.array([4, 3, 2, 1]), WRONG) < aurc(np.array([1, 2, 3, 4]), WRONG)


def test_equally_sure_films_have_the_expected_risk():
    assert risk_coverage(np.ones(4), WRONG)[1].tolist() == [0.5] * 4


def test_the_margin_is_in_log_odds_and_finite():
    assert margin(np.array([0.5]), 0.5)[0] == 0 and np.isfinite(margin(np.array([0.0, 1.0]), 0.5)).all()


def test_entropy_of_one_answer_and_of_yes_and_no():
    assert predictive_entropy(PNEUMONIA, np.array([[0.5, 0.5]]))[0, 0] == pytest.approx(np.log(2))
    assert predictive_entropy(MULTILABEL, np.full((1, 14), 0.5)).tolist() == [[pytest.approx(np.log(2))] * 14]
