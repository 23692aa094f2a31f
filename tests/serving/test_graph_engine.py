"""The fast path: what a graph answers is what torch answers, and no torch is loaded for it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.checkpoint import load, save, write_config
from hf_pneumo.models.classifier import build
from hf_pneumo.models.config import CheckpointConfig, OperatingPoint
from hf_pneumo.models.folder import open_folder
from hf_pneumo.models.map_recipe import MapRecipe
from hf_pneumo.serving.export_graph import export_checkpoint
from hf_pneumo.serving.graph_store import open_graph
from hf_pneumo.serving.predictor import Predictor

SHIPPED = sorted((Path(__file__).resolve().parents[2] / "space" / "checkpoints").glob("*/"))
RECIPE = MapRecipe("hirescam", "stride16", ("PNEUMONIA", "NORMAL"), (64, 96), "flips", (1.5, -2.0), within_lungs=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A checkpoint with its light graph."""
    torch.manual_seed(0)
    point = OperatingPoint(temperature=1.3, thresholds=(0.4,), fitted_on="made-up/val")
    spec = Preprocess(size=(64, 64), crop="lungs", mirror=True)
    config = CheckpointConfig("test_resnet", PNEUMONIA, spec, operating_point=point, map=RECIPE)
    path = save(tmp_path_factory.mktemp("c") / "made-up", build("test_resnet", 2), config)
    export_checkpoint(load(path), path, light=True)
    return path


def film(seed: int = 3):
    return make_phantom(seed, opacities=1).film


def assert_same(one, other, what=""):
    assert one.verdict == other.verdict and one.notes == other.notes, what
    for name, probability in one.probabilities.items():
        assert probability == pytest.approx(other.probabilities[name], abs=1e-4), what
    apart = np.abs(one.explanation.heatmap - other.explanation.heatmap)  # see export_graph.AVERAGE
    assert apart.mean() <= 5e-4 and apart.max() <= 2e-2, what
    assert one.explanation.target == other.explanation.target and one.explanation.layer == other.explanation.layer
    assert one.explanation.grid.shape == other.explanation.grid.shape
    for a, b in zip(one.boxes, other.boxes, strict=True):
        assert np.abs(np.subtract((a.x, a.y, a.w, a.h), (b.x, b.y, b.w, b.h))).max() <= 2, what


@pytest.mark.parametrize("target", [None, "NORMAL"])
def test_both_engines_say_the_same(folder, target):
    graph, plain = Predictor(folder, engine="onnx"), Predictor(folder, engine="torch")
    assert (graph.engine, plain.engine) == ("onnx", "torch")
    asked = {"target": target, "boxes_when_normal": True, "judge_anyway": True}
    assert_same(graph.predict(film(), **asked), plain.predict(film(), **asked))
    assert graph.predict(film(), method=None).probability == pytest.approx(
        plain.predict(film(), method=None).probability
    )


def test_no_torch_is_loaded_for_the_checkpoints_own_map(folder, tmp_path):
    Image.fromarray(film().gray8).save(tmp_path / "film.png")
    program = f"""
import json, sys
from hf_pneumo import Predictor
from hf_pneumo.serving.export import overlay_image
from hf_pneumo.serving.png import encode
finding = Predictor({str(folder)!r}).predict({str(tmp_path / "film.png")!r}, boxes_when_normal=True, judge_anyway=True)
assert encode(overlay_image(finding, side=200))
heavy = {{"torch", "timm", "matplotlib", "pandas", "sklearn", "datasets", "transformers"}} & set(sys.modules)
print(json.dumps([finding.probability, len(finding.boxes), sorted(heavy)]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    probability, boxes, heavy = json.loads(done.stdout)
    here = Predictor(folder, engine="torch").predict(tmp_path / "film.png", boxes_when_normal=True, judge_anyway=True)
    assert probability == pytest.approx(here.probability, abs=1e-4) and boxes == len(here.boxes) and heavy == []


def test_another_method_is_torchs(folder):
    graph = Predictor(folder)
    for asked in ({"method": "gradcam"}, {"smoothing": "none"}, {"layer": "layer3", "sizes": (64,)}):
        found = graph.predict(film(), judge_anyway=True, **asked)
        plain = Predictor(folder, engine="torch").predict(film(), judge_anyway=True, **asked)
        assert np.array_equal(found.explanation.heatmap, plain.explanation.heatmap)
    assert graph.network is graph.network


def test_a_graph_of_another_computation_is_not_taken(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "c")
    checkpoint = load(tmp_path / "c")
    other = replace(checkpoint.config, map=replace(RECIPE, smoothing="none"))
    write_config(tmp_path / "c", checkpoint.network, other)
    assert open_graph(open_folder(tmp_path / "c")) is None
    assert Predictor(tmp_path / "c").engine == "torch"
    write_config(tmp_path / "c", checkpoint.network, checkpoint.config)
    assert Predictor(tmp_path / "c").engine == "onnx"
    save(tmp_path / "c", build("test_resnet", 2), checkpoint.config)  # other weights
    assert Predictor(tmp_path / "c").engine == "torch"


def test_a_checkpoint_in_memory_answers_by_itself(folder):
    assert Predictor(load(folder)).engine == "torch"
    with pytest.raises(ValueError, match="auto, onnx, torch"):
        Predictor(folder, engine="tensorrt")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_checkpoint_has_a_graph_that_says_what_torch_says(path):
    graph = Predictor(path)
    assert graph.engine == "onnx"
    assert_same(
        graph.predict(film(5), judge_anyway=True), Predictor(path, engine="torch").predict(film(5), judge_anyway=True)
    )
