"""Figures of crops: drawn from results and heatmaps, and the command that draws them for checkpoint folders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from hf_pneumo.cli import compare_crops
from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.evaluation.classification.report import ClassificationReport
from hf_pneumo.evaluation.estimate import Estimate
from hf_pneumo.imaging.preprocess import CROPS, Preprocess
from hf_pneumo.models.checkpoint import save
from hf_pneumo.models.classifier import build
from hf_pneumo.models.config import CheckpointConfig
from hf_pneumo.reporting.comparison_figures import BARS, CropView, draw_before_after, draw_views

METRICS = dict.fromkeys(BARS, Estimate(0.8, 0.7, 0.9))
REPORT = ClassificationReport(
    n=9, patients=9, task="pneumonia", temperature=1.0, fitted_on="official/val", metrics=METRICS, labels={}
)


def test_one_bar_a_metric_and_checkpoint(tmp_path):
    drawn = draw_before_after(tmp_path / "x/bars.png", {"none": REPORT, "lung": REPORT}, "official-test")
    assert np.ptp(np.array(Image.open(drawn))) > 0
    undefined = replace(REPORT, metrics=METRICS | {"specificity": None})
    with pytest.raises(ValueError, match="specificity"):
        draw_before_after(tmp_path / "bars.png", {"none": undefined}, "official-test")


def test_a_heatmap_is_seen_where_it_is(tmp_path):
    film, heat = np.full((40, 40), 0.5), np.zeros((40, 40))
    view = CropView(heat, 0.5, (0.0, 1.0, 0.0, 1.0))
    cold = np.array(Image.open(draw_views(tmp_path / "cold.png", film, {"a": view})).convert("RGB")).astype(int)
    heat[:20] = 1
    hot = np.array(Image.open(draw_views(tmp_path / "hot.png", film, {"a": view})).convert("RGB")).astype(int)
    rows, columns = np.nonzero((cold != hot).any(-1))
    assert columns.min() > cold.shape[1] / 2 and rows.max() < 0.6 * cold.shape[0]


def test_the_command_draws_both_for_every_crop(tmp_path, capsys):
    torch.manual_seed(0)
    folders = []
    for name, crop in CROPS.items():
        config = CheckpointConfig("test_resnet", PNEUMONIA, Preprocess(size=(64, 64), crop=crop))
        folders.append(str(save(tmp_path / name, build("test_resnet", 2), config)))
        REPORT.write(tmp_path / name / "results/official-test.json")
    compare_crops.run(compare_crops.Arguments(folders, output=str(tmp_path / "out")))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["before-after.png", "heatmaps.png"]
    with pytest.raises(ValueError, match="different names"):
        compare_crops.run(compare_crops.Arguments([folders[0], folders[0]]))
