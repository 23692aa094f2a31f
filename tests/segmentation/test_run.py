"""The command that trains the segmenter, on a tiny run; what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hf_pneumo.imaging.lungs import GRID, LungFinder
from hf_pneumo.segmentation.measure import score, summary
from hf_pneumo.segmentation.network import LungUNet, export_onnx
from hf_pneumo.segmentation.run import SegmenterConfig, train_segmenter
from hf_pneumo.segmentation.samples import drawn_phantoms

TINY = {"steps": 2, "own_steps": 1, "own": 2, "phantoms": 2, "blanks": 1, "batch": 2}


def test_the_command_writes_a_graph_that_the_package_runs_and_what_it_measured(tmp_path, mask_folder, monkeypatch):
    monkeypatch.setattr("hf_pneumo.segmentation.run.TEST_PHANTOMS", 3)
    root = mask_folder(tmp_path / "drawn")
    config = SegmenterConfig(
        masks=str(root), output=str(tmp_path / "lungs.onnx"), results=str(tmp_path / "results"), **TINY
    )
    report = train_segmenter(config)
    assert json.loads((tmp_path / "results/network.json").read_text()) == report
    assert report["config"]["masks"] == "drawn" and str(tmp_path) not in json.dumps(report)
    assert report["bytes"] == (tmp_path / "lungs.onnx").stat().st_size and not list(tmp_path.glob("*.part*"))
    field = LungFinder((tmp_path / "lungs.onnx").read_bytes())(np.zeros((50, 70), np.uint8))
    assert field.probability.shape == (GRID, GRID)
    steps = [json.loads(line)["step"] for line in (tmp_path / "results/log.jsonl").read_text().splitlines()]
    assert steps == [1, 2]


def test_folds_are_measured_and_nothing_is_shipped(tmp_path, mask_folder):
    root = mask_folder(tmp_path / "drawn")
    config = SegmenterConfig(
        masks=str(root), output=str(tmp_path / "lungs.onnx"), results=str(tmp_path / "r"), cross_validate=2, **TINY
    )
    report = train_segmenter(config)
    assert report["all folds"]["films"] == 6 == sum(fold["films"] for fold in report["folds"])
    assert (tmp_path / "r/cross_validation.json").is_file() and not (tmp_path / "lungs.onnx").exists()


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"extra": "a"}, "`extra` and `extra_films` together"),
        ({"steps": 0}, "`steps` is 0"),
        ({"cross_validate": 1}, "2 folds or more"),
    ],
)
def test_choices_that_do_not_fit_are_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        SegmenterConfig(**choices)


def test_own_masks_need_a_sure_network(tmp_path, mask_folder):
    """An untrained network is sure of nothing; what it would teach itself is refused."""
    root = mask_folder(tmp_path / "drawn")
    config = SegmenterConfig(
        masks=str(root),
        films=str(root / "images"),
        output=str(tmp_path / "x.onnx"),
        results=str(tmp_path / "r"),
        **TINY,
    )
    with pytest.raises(ValueError, match="leave `films` out"):
        train_segmenter(config)


def test_the_overlap_of_an_untrained_network_is_low(tmp_path):
    torch.manual_seed(0)
    find = LungFinder(export_onnx(LungUNet(), tmp_path / "net.onnx").read_bytes())
    measured = summary(score(drawn_phantoms(3, 2), find))
    assert measured.found == 0 and measured.mean < 0.75
