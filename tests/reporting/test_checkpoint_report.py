"""All results of a checkpoint's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_pneumo.models.hub_download import CheckpointError
from hf_pneumo.reporting.checkpoint_report import read_report, rows

SHIPPED = Path(__file__).resolve().parents[2] / "space/checkpoints/pneumonia-children"


def test_tests_come_first_with_the_trivial_models_of_their_films():
    report = read_report(SHIPPED)
    assert report.evaluations[0].subset == "test" and "majority class" in report.evaluations[0].controls
    assert all(evaluation.has_figures for evaluation in report.tests)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results/official-test.json").write_text("{")
    with pytest.raises(CheckpointError, match="official-test.json"):
        read_report(tmp_path)


def test_figures_of_a_free_form_file_become_rows():
    values = {"speed": {"films_a_second": 3, "share": {"value": 0.5, "low": 0.25, "high": 0.75}}, "list": [1, 2]}
    assert list(rows(values)) == [("speed, films a second", "3"), ("speed, share", "0.500 (0.250 to 0.750)")]
