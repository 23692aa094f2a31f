"""The rows of what a checkpoint said, and what follows from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.evaluation.predictions import Predictions, predictions_path, results_path, validation_predictions
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.config import CheckpointConfig, OperatingPoint
from hf_pneumo.models.training_record import DataRecord

POINT = OperatingPoint(temperature=2.0, thresholds=(0.6,))
CONFIG = CheckpointConfig("x", PNEUMONIA, Preprocess(), operating_point=POINT, data=DataRecord(protocol="paper"))
LOGITS = np.array([[0, 2], [2, 0], [0, 0]], dtype=np.float32)


@pytest.fixture
def predictions() -> Predictions:
    rows = {"file_name": list("abc"), "patient": ["p", "p", "q"], "subgroup": [None] * 3, "view": ["AP", None, "PA"]}
    return Predictions.of(
        Dataset.from_dict({**rows, "label": [1, 0, 1]}), LOGITS, PNEUMONIA, POINT, suspicion=[0, 1, 0]
    )


def test_scores_follow_from_logits_and_temperature(predictions):
    expected = 1 / (1 + np.exp(-np.array([1.0, -1.0, 0.0])))
    np.testing.assert_allclose(predictions.scores[:, 0], expected, atol=1e-6)
    assert predictions.positive[:, 0].tolist() == [True, False, False]
    assert predictions.targets[:, 0].tolist() == [1, 0, 1] and "suspicion" in predictions


def test_they_are_read_as_they_were_written(predictions, tmp_path):
    predictions.write(predictions_path(tmp_path, "paper-val"))
    again = validation_predictions(tmp_path, CONFIG)
    np.testing.assert_array_equal(again.logits, LOGITS)
    assert again.patients.tolist() == ["p", "p", "q"] and len(again) == 3
    assert validation_predictions(tmp_path / "elsewhere", CONFIG) is None
    assert results_path(Path("c"), "paper-test") == Path("c/results/paper-test.json")


def test_some_films_of_them(predictions):
    some = predictions.select(np.array([True, False, True])).with_columns({"digest": ["d", "e"]})
    assert some.frame["file_name"].tolist() == ["a", "c"] and "digest" in some and "digest" not in predictions
