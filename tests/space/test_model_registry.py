"""The page takes an ensemble as it takes a network: what can be asked of it, what it says of itself, and a finding."""

from __future__ import annotations

from pathlib import Path

import html_finding
import html_model
import pytest
import torch
from model_registry import Shelf

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.checkpoint import save
from hf_pneumo.models.classifier import build
from hf_pneumo.models.config import CheckpointConfig, OperatingPoint
from hf_pneumo.models.ensemble import Ensemble, architecture_of
from hf_pneumo.models.member import Member
from hf_pneumo.reporting.checkpoint_report import Report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = Preprocess(size=(64, 64))
    members = tuple(Member(name, "test_resnet", 0.5, 1.0, spec.mean, spec.std) for name in "ab")
    torch.manual_seed(0)
    network = Ensemble([build("test_resnet", 2) for _ in members], members, spec)
    point = OperatingPoint(1.0, (0.01,), ((0.0, 0.005),), "made-up/val")
    config = CheckpointConfig(architecture_of(members), PNEUMONIA, spec, operating_point=point, members=members)
    return save(tmp_path_factory.mktemp("space") / "both", network, config)


def test_the_page_judges_and_describes_an_ensemble(folder, films):
    desk = Shelf([folder]).open()
    assert {"gradcam", "eigencam", "cam", "occlusion"} <= set(desk.methods) and "rollout" not in desk.methods
    finding = desk.predictor.predict(films.png)
    assert finding.verdict == "pneumonia" and finding.explanation.heatmap.shape == films.shape
    assert "2 x test_resnet" in html_model.about(desk.checkpoint, Report())
    assert "both" in html_finding.evidence(finding, desk.checkpoint)
