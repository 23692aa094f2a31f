"""Figures by view, sex and age."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.evaluation.classification.subgroups import by_group
from hf_pneumo.evaluation.predictions import Predictions
from hf_pneumo.models.config import OperatingPoint


def test_groups_are_those_in_which_the_films_differ():
    label = np.arange(24) % 2
    rows = {"file_name": [f"{i}.png" for i in range(24)], "patient": [f"p{i}" for i in range(24)]}
    columns = {"view": ["AP", "AP", "PA", "PA"] * 6, "age": [10, 30] * 12, "sex": ["F"] * 24, "subgroup": [None] * 24}
    table = Dataset.from_dict({**rows, **columns, "label": label.tolist()})
    report = by_group(
        Predictions.of(table, np.stack([1 - label, label], 1) * 4.0, PNEUMONIA, OperatingPoint()), resamples=10
    )
    assert set(report) == {"view", "age"} and set(report["age"]) == {"under 18", "18 to 39"}
    assert report["view"]["AP"].n == 12 and report["view"]["PA"].errors == 0
