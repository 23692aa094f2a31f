"""The causes of a finding, read in order: known films, known figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hf_pneumo.data.labels import AETIOLOGY, MULTILABEL, PNEUMONIA
from hf_pneumo.evaluation.classification.multiclass import measure_causes
from hf_pneumo.evaluation.predictions import Predictions
from hf_pneumo.models.config import OperatingPoint

POINT = OperatingPoint(thresholds=(0.4,))


def predictions(probabilities, truth, labels=AETIOLOGY) -> Predictions:
    logits = [np.log(row).tolist() for row in probabilities]
    frame = pd.DataFrame({"logits": logits, "label": truth, "patient": np.arange(len(truth))})
    return Predictions(frame, labels, POINT)


def test_the_finding_is_read_first_and_then_its_likeliest_cause():
    # 0.5 normal stays above the threshold of 0.4 for the finding: the likeliest label alone would have been NORMAL.
    rows = [(0.9, 0.05, 0.05), (0.5, 0.3, 0.2), (0.1, 0.2, 0.7), (0.7, 0.1, 0.2)]
    found = measure_causes(predictions(rows, [0, 1, 1, 2]), resamples=5)
    assert found.labels == ("NORMAL", "BACTERIA", "VIRUS")
    assert found.confusion == ((1, 0, 0), (0, 1, 1), (1, 0, 0)) and found.errors == 2
    assert found.metrics["accuracy"].value == 0.5
    assert found.metrics["balanced_accuracy"].value == pytest.approx((1 + 0.5 + 0) / 3)


def test_causes_are_told_apart_among_ill_films_by_what_they_are_given_the_finding():
    generator = np.random.default_rng(0)
    sick = generator.uniform(0.1, 0.9, 40)
    # Given the finding, bacteria have .8 in bacterial films and .3 in viral ones, however likely the finding is.
    share = np.where(np.arange(40) < 20, 0.8, 0.3)
    rows = np.column_stack([1 - sick, sick * share, sick * (1 - share)])
    rows = np.vstack([rows, np.tile([0.98, 0.01, 0.01], (10, 1))])
    told = measure_causes(predictions(rows, [1] * 20 + [2] * 20 + [0] * 10), resamples=5).told_apart
    assert list(told) == ["BACTERIA"] and told["BACTERIA"].n == 40
    assert told["BACTERIA"].value("auroc") == 1 and told["BACTERIA"].errors == 0


def test_labels_without_several_causes_have_none():
    for labels in (PNEUMONIA, MULTILABEL):
        assert measure_causes(predictions([(0.5, 0.5)], [0], labels)) is None
