"""The figures of a table of predictions, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.evaluation.classification.label_metrics import LabelMetrics, measure_predictions
from hf_pneumo.evaluation.predictions import Predictions
from hf_pneumo.models.config import OperatingPoint


@pytest.fixture(scope="module")
def predictions() -> Predictions:
    """24 films, every sixth called wrong; twelve of them of one subgroup, two of another."""
    label = np.arange(24) % 2
    called = np.where(np.arange(24) % 6 == 0, 1 - label, label)
    groups = ["virus"] * 12 + ["rare"] * 2 + [None] * 10
    rows = {"file_name": [f"{i}.png" for i in range(24)], "patient": [f"p{i // 2}" for i in range(24)]}
    table = Dataset.from_dict({**rows, "subgroup": groups, "view": ["PA"] * 24, "label": label.tolist()})
    return Predictions.of(table, np.stack([1 - called, called], 1) * 4.0, PNEUMONIA, OperatingPoint())


def test_errors_and_patients_are_counted(predictions):
    report = measure_predictions(predictions, {"model": "m"}, resamples=20)
    assert (report.n, report.patients, report.errors, report.positives) == (24, 12, 4, 12)
    assert report.metrics["accuracy"].value == pytest.approx(20 / 24) and report.model == "m"


def test_small_subgroups_have_no_figures(predictions):
    report = measure_predictions(predictions, resamples=20)
    assert set(report.subgroups) == {"virus"} and report.subgroups["virus"].errors == 2
    assert report.views["PA"].n == 24


def test_it_is_read_as_it_was_written(predictions, tmp_path):
    report = measure_predictions(predictions, resamples=20)
    report.write(tmp_path / "x.json")
    assert LabelMetrics.read(tmp_path / "x.json") == report
