"""What a config.json holds, and what is wrong with a damaged one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hf_pneumo.models.config import CONFIG, NO_VERDICT, OperatingPoint, read_config
from hf_pneumo.models.hub_download import CheckpointError

SHIPPED = Path(__file__).resolve().parents[2] / "space/checkpoints/pneumonia-children"


def test_a_verdict_by_threshold_and_band():
    point = OperatingPoint(thresholds=(0.5, 0.3), abstain=((0.4, 0.6), (0.3, 0.3)), evidence=((50, 50), (3, 50)))
    assert [point.decide(0, p) for p in (0.3, 0.45, 0.7)] == ["negative", "uncertain", "positive"]
    assert point.decide(1, 0.9) == NO_VERDICT and not point.is_fitted


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format_version": 99}, "upgrade"),
        ({"data": {"films": "many"}}, "is not complete: it is no DataRecord"),
        ({"preprocess": {"zoom": 2}}, "unknown keys"),
    ],
)
def test_what_is_wrong_is_named(change, says, tmp_path):
    shutil.copy(SHIPPED / CONFIG, tmp_path)
    stored = json.loads((tmp_path / CONFIG).read_text())
    stored["hf_pneumo"] |= change
    (tmp_path / CONFIG).write_text(json.dumps(stored))
    with pytest.raises(CheckpointError, match=says):
        read_config(tmp_path)
