"""The finding against each other label: which films count, by view, and beside the rule of the view."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hf_pneumo.data.labels import OPACITY, PNEUMONIA
from hf_pneumo.evaluation.classification.contrasts import OTHERS, measure_contrasts
from hf_pneumo.evaluation.classification.label_metrics import measure_predictions
from hf_pneumo.evaluation.classification.multiclass import measure_causes
from hf_pneumo.evaluation.classification.report import full_report
from hf_pneumo.evaluation.predictions import Predictions
from hf_pneumo.models.config import OperatingPoint
from hf_pneumo.reporting.checkpoint_report import Evaluation
from hf_pneumo.reporting.tables import contrasts_table

POINT = OperatingPoint(thresholds=(0.5,))


@pytest.fixture
def frame() -> pd.DataFrame:
    """Of each label 20 films: opacities AP, normal films PA, and a model that knows normal films from all others."""
    labels = np.repeat([0, 1, 2], 20)
    views = np.where(labels == 2, "AP", "PA").astype(object)
    views[[0, 1, 2, 3, 4]] = "AP"
    logits = [np.log(np.eye(3)[label] * 0.9 + [0.02, 0.04, 0.04]).tolist() for label in labels]
    return pd.DataFrame(
        {
            "label": labels,
            "view": views,
            "patient": [f"p{i}" for i in range(60)],
            "probability": np.array([0.1, 0.9, 0.9])[labels] + np.linspace(0, 0.01, 60),
            "logits": logits,
        }
    )


def test_each_other_label_is_measured_by_itself(frame):
    found = measure_contrasts(Predictions(frame, OPACITY, POINT), resamples=5)
    assert list(found) == ["NORMAL", "OTHER ABNORMAL", OTHERS]
    assert found["NORMAL"]["all"].n == 40 and found["NORMAL"]["all"].value("auroc") == 1
    assert found["NORMAL"]["all"].value("balanced_accuracy") == 1
    assert found["OTHER ABNORMAL"]["all"].value("balanced_accuracy") == 0.5
    assert found[OTHERS]["all"].n == 60 and found[OTHERS]["all"].positives == 20


def test_views_and_their_rule(frame):
    found = measure_contrasts(Predictions(frame, OPACITY, POINT), resamples=5)["NORMAL"]
    assert (found["AP"].n, found["PA"].n) == (25, 15)
    assert found["PA"].note  # no opacity there: no figure
    assert found["view rule"].value("sensitivity") == 1 and found["view rule"].value("specificity") == 0.75


def test_without_views_there_is_no_rule_and_of_two_labels_no_contrast(frame):
    unknown = measure_contrasts(Predictions(frame.assign(view=None), OPACITY, POINT), resamples=5)
    assert "view rule" not in unknown["NORMAL"]
    assert measure_contrasts(Predictions(frame, PNEUMONIA, POINT), resamples=5) is None


def test_films_below_the_threshold_are_read_as_the_likelier_of_the_other_labels(frame):
    found = measure_causes(Predictions(frame, OPACITY, POINT), resamples=5)
    assert found.confusion[0] == (20, 0, 0) and found.confusion[2] == (0, 0, 20) and found.told_apart == {}
    low = OperatingPoint(thresholds=(0.99,))
    assert measure_causes(Predictions(frame, OPACITY, low), resamples=5).confusion[1] == (0, 20, 0)


def test_films_that_are_neither_count_in_no_subgroup(frame):
    every = frame.assign(subgroup=np.array(["normal", "other", "opacity"])[frame["label"]])
    found = measure_predictions(Predictions(every, OPACITY, POINT), resamples=5)
    assert set(found.subgroups) == {"normal", "opacity"} and found.subgroups["normal"].accuracy == 1
    assert found.views["PA"].n == 15 and found.labels["LUNG OPACITY"].n == 40


def test_the_table_has_a_row_for_each_other_label_view_and_rule(frame):
    values = full_report(Predictions(frame.assign(subgroup="all"), OPACITY, POINT), resamples=5)
    table = contrasts_table("films", Evaluation("strict-test", values))
    rows = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    assert rows[:4] == ["NORMAL", "_NORMAL, AP_", "_NORMAL, PA_", "_NORMAL, AP called, PA not_"]
    assert "| NORMAL | 40 | 20 | 1" in table and "all others" in rows
