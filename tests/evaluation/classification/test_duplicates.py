"""Films that are there twice."""

from __future__ import annotations

import numpy as np

from hf_pneumo.evaluation.classification.duplicates import DIGITS, identical_to, shortened


def test_a_film_of_another_part_is_named_by_it_train_first():
    digests = ["a", "b", "a", "b", "c"]
    parts = {"train": np.array([0]), "val": np.array([1]), "test": np.array([2, 3, 4])}
    assert identical_to(digests, parts, "test") == ["train", "val", None]
    assert identical_to(digests, {**parts, "val": np.array([0, 1])}, "test") == ["train", "val", None]
    assert identical_to(digests, parts, "val") == [None]


def test_digests_are_short_in_predictions():
    assert shortened(["f" * 64]) == ["f" * DIGITS]
