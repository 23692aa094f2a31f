"""The whole report of a table of predictions."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_pneumo.evaluation.classification.report import ClassificationReport

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("space/checkpoints/*/results/*-test.json")), ids=lambda p: p.parts[-3]
)
def test_committed_reports_are_read_and_nothing_is_lost(path, tmp_path):
    report = ClassificationReport.read(path)
    report.write(tmp_path / "again.json")
    assert ClassificationReport.read(tmp_path / "again.json") == report and report.n > 0
