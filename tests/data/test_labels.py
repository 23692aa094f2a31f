"""Label sets: what is decided on, for two labels, a finding of several causes, and a finding among other labels."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from hf_pneumo.data.labels import AETIOLOGY, MULTILABEL, OPACITY, PNEUMONIA

LOGITS = np.random.default_rng(0).normal(0, 2, (20, 3))


def test_a_finding_among_other_labels_is_decided_against_normal_alone():
    assert np.allclose(OPACITY.scores(LOGITS)[:, 0], softmax(LOGITS[:, [0, 2]], axis=1)[:, 1])
    assert np.array_equal(OPACITY.score_targets(np.array([0, 1, 2]))[:, 0], [0, np.nan, 1], equal_nan=True)
    assert OPACITY.between == ("OTHER ABNORMAL",)


def test_the_score_of_a_finding_of_several_causes_is_all_but_normal():
    assert np.allclose(AETIOLOGY.scores(LOGITS)[:, 0], 1 - softmax(LOGITS, axis=1)[:, 0])
    assert AETIOLOGY.score_targets(np.array([0, 1, 2]))[:, 0].tolist() == [0, 1, 1]
    assert AETIOLOGY.between == PNEUMONIA.between == MULTILABEL.between == ()


def test_two_labels_are_decided_by_the_difference_of_their_logits():
    assert np.array_equal(PNEUMONIA.log_odds(LOGITS[:, :2])[:, 0], LOGITS[:, 1] - LOGITS[:, 0])
