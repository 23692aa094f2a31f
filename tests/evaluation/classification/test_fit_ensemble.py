"""What each member of an ensemble counts."""

from __future__ import annotations

import numpy as np
import pytest

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.evaluation.classification.fit_ensemble import WEIGHTINGS

LABEL = np.arange(40) % 2
GOOD = np.stack([-(LABEL * 4.0 - 2), LABEL * 4.0 - 2], axis=1)
NOISE = np.random.default_rng(0).normal(size=(40, 2))


@pytest.mark.parametrize("name", list(WEIGHTINGS))
def test_weights_are_shares(name):
    weights = WEIGHTINGS[name]([GOOD, NOISE], LABEL, PNEUMONIA)
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all()


def test_what_a_coin_would_do_counts_less():
    assert WEIGHTINGS["uniform"]([GOOD, NOISE], LABEL, PNEUMONIA).tolist() == [0.5, 0.5]
    assert WEIGHTINGS["auroc"]([GOOD, NOISE], LABEL, PNEUMONIA)[0] > 0.7
