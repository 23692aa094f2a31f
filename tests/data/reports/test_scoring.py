"""Precision and recall of labels, counted by hand."""

from __future__ import annotations

import numpy as np

from hf_pneumo.data.reports.scoring import markdown_table, score_kinds, score_labels

NAMES = ("Edema", "Fracture")
GOLD = np.array([[1, np.nan], [1, 0], [0, np.nan]], dtype=np.float32)
SAID = np.array([[1, np.nan], [0, 0], [0, 1]], dtype=np.float32)


def test_the_same_labels_are_right_altogether():
    same = score_labels(GOLD, GOLD, names=NAMES)
    assert markdown_table(same).count("1.00") >= 3


def test_a_missed_and_an_invented_label_cost_recall_and_precision():
    both = str(score_labels(SAID, GOLD, names=NAMES))
    assert both != str(score_labels(GOLD, GOLD, names=NAMES)) and "0.5" in both


def test_kinds_are_scored_by_themselves():
    gold = np.full((2, 14), np.nan, dtype=np.float32)
    gold[:, 0] = 1
    scores = score_kinds(gold, gold, ["lists", "negation"])
    assert set(scores["kinds"]) == {"lists", "negation"} and "all" in scores
