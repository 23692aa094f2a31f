"""Trivial models: what each is given, and where their figures lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from hf_pneumo.data.film_cache import Films
from hf_pneumo.data.labels import MULTILABEL, PNEUMONIA
from hf_pneumo.evaluation.classification import baselines
from hf_pneumo.evaluation.classification.baselines import BaselinesReport, baselines_path, measure_baselines


def films() -> Films:
    """Twenty films of noise, those of the finding brighter; every film of another patient."""
    label = np.arange(20) % 2
    noise = np.random.default_rng(0).integers(0, 20, (20, 48, 48))
    gray = ((80 + 100 * label)[:, None, None] + noise).astype(np.uint8)
    columns = {"patient": [f"p{i}" for i in range(20)], "view": ["PA"] * 20}
    return Films(gray, Dataset.from_dict({**columns, "label": label.tolist()}), tuple(map(str, range(20))), ())


def test_what_the_models_are_given():
    gray = np.full((2, 48, 48), 51, dtype=np.uint8)
    gray[:, 10:20, 10:20] = 255
    assert baselines.intensity_statistics(gray).shape == (2, 9)
    assert np.allclose(baselines.frame_pixels(gray), 0.2) and baselines.frame_pixels(gray).shape == (2, 48**2 - 44**2)
    assert baselines.small_pixels(gray).shape == (2, 48**2) and baselines.outline(gray)[0, -1] == pytest.approx(1)


def test_brightness_alone_is_enough_where_it_tells_the_label(tmp_path):
    report = measure_baselines(films(), films(), PNEUMONIA, resamples=20, dataset="a/films", protocol="paper")
    assert report.models["nine intensity statistics"].metrics["auroc"].value == 1 and report.best != "majority class"
    assert "view alone, AP or PA" not in report.models  # all are of one view
    report.write(tmp_path / "x.json")
    assert BaselinesReport.read(tmp_path / "x.json") == report


def test_label_sets_of_several_scores_have_none():
    with pytest.raises(ValueError, match="14 scores"):
        measure_baselines(films(), films(), MULTILABEL)


def test_one_file_for_each_data_set_protocol_and_split():
    assert baselines_path(Path("b"), "owner/chest x-ray", "paper", "test") == Path("b/chest-x-ray-paper-test.json")
