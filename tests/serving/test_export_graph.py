"""Exported graphs: the same answers and maps as torch, for every backbone, any number of films and any target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hf_pneumo.data.labels import MULTILABEL, PNEUMONIA
from hf_pneumo.explain import explain
from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.checkpoint import load, save
from hf_pneumo.models.classifier import build
from hf_pneumo.models.config import CheckpointConfig, OperatingPoint
from hf_pneumo.models.map_recipe import MapRecipe
from hf_pneumo.models.tensors import to_tensor
from hf_pneumo.serving.export_graph import ExportError, export_checkpoint
from hf_pneumo.serving.graph import Graph

SIZE = (96, 64)  # two sides that differ: no axis is taken for another
VIEWS = MapRecipe("hirescam", "stride16", ("PNEUMONIA", "NORMAL"), (64, 96), "flips", (1.5, -2.0))


def checkpoint(folder: Path, name: str, **changes):
    torch.manual_seed(0)
    labels = changes.pop("labels", PNEUMONIA)
    network = build(name, len(labels.names), head=changes.get("head", "linear"), **changes.get("model_args", {})).eval()
    point = OperatingPoint(temperature=1.7, thresholds=(0.4,) * len(labels.score_names), fitted_on="val")
    config = CheckpointConfig(name, labels, changes.pop("preprocess", Preprocess(size=SIZE)), operating_point=point,
                              cam_offset=(3.0, -5.0), **changes)  # fmt: skip
    return load(save(folder / name, network, config))


def films(checkpoint, count: int, preprocess: Preprocess | None = None) -> np.ndarray:
    preprocess = preprocess or checkpoint.config.preprocess
    return np.stack([preprocess.to_gray(make_phantom(seed, opacities=1).film.gray8) for seed in range(count)])


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    made = checkpoint(tmp_path_factory.mktemp("plain"), "test_resnet")
    return made, Graph(export_checkpoint(made, made.path)[0])


@pytest.mark.parametrize("count", [1, 4])
def test_a_graph_answers_as_torch_does(plain, count):
    made, graph = plain
    gray = films(made, count)
    answer = graph.run(gray, [1.0, -1.0])
    explained = explain(made.network, to_tensor(made.config.preprocess, gray), target=("NORMAL", "PNEUMONIA"),
                        offset=(3.0, -5.0))  # fmt: skip
    for row, one in enumerate(explained):
        assert np.allclose(answer.logits[row], one.logits, atol=1e-4)
        assert np.allclose(answer.heatmap[row], one.heatmap, atol=1e-4)
        assert answer.heatmap[row].shape == SIZE
    assert np.allclose(answer.probability, PNEUMONIA.probabilities(answer.logits, 1.7), atol=1e-6)
    assert graph.about["name"] == "test_resnet" and graph.about["labels"] == list(PNEUMONIA.names)
    assert graph.grid == explained[0].grid.shape and graph.layer == explained[0].layer
    assert graph.run(gray, maps=False).heatmap is None


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    """A checkpoint that reads lungs alone and makes its map at two sizes, mirrored, at an inner layer; its graph is
    light."""
    preprocess = Preprocess(size=(64, 64), crop="lungs", mirror=True)
    made = checkpoint(tmp_path_factory.mktemp("views"), "test_resnet", preprocess=preprocess, map=VIEWS)
    return made, export_checkpoint(made, made.path, light=True)[0]


def test_a_map_over_several_views_is_in_the_graph_and_the_weights_are_not(views):
    made, path = views
    graph = Graph(path)
    finer = VIEWS.preprocess(made.config.preprocess)
    gray, fine = films(made, 2), films(made, 2, finer)
    answer = graph.run(gray, fine=fine)
    explained = explain(made.network, to_tensor(finer, fine), method="hirescam", target=VIEWS.target, **VIEWS.options)
    for row, one in enumerate(explained):
        assert np.allclose(answer.heatmap[row], one.heatmap, atol=1e-4)
        assert answer.heatmap[row].shape == (96, 96)
    x = to_tensor(made.config.preprocess, gray)
    with torch.inference_mode():
        logits = (made.network(x) + made.network(x.flip(-1))) / 2
    assert np.allclose(answer.logits, logits, atol=1e-4)
    assert np.allclose(graph.run(gray, maps=False).logits, logits, atol=1e-4)
    coarse = graph.run(gray).heatmap  # without finer films those at hand are enlarged
    assert coarse.shape == (2, 96, 96) and np.corrcoef(coarse.ravel(), answer.heatmap.ravel())[0, 1] > 0.5
    assert path.stat().st_size < (made.path / "model.safetensors").stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["resnet50", "densenet121", "efficientnet_b0", "mobilenetv2_100", "mobilenetv3_large_100",
             "tf_efficientnet_lite0", "vit_base_patch16_224"],
)  # fmt: skip
def test_every_backbone_has_a_graph(tmp_path, name):
    size = {"preprocess": Preprocess(size=(224, 224))} if name.startswith("vit") else {}
    made = checkpoint(tmp_path, name, **size)
    path, _ = export_checkpoint(made, tmp_path / "out")  # raises where graph and torch disagree
    assert Graph(path).run(films(made, 2)).heatmap.shape == (2, *made.config.preprocess.size)


def test_an_mlp_head_and_several_labels_are_in_the_graph(tmp_path):
    made = checkpoint(tmp_path, "test_resnet", head="mlp", labels=MULTILABEL)
    answer = Graph(export_checkpoint(made, tmp_path / "out")[0]).run(films(made, 3))
    with torch.inference_mode():
        logits = made.network(to_tensor(made.config.preprocess, films(made, 3)))
    assert np.allclose(answer.logits, logits, atol=1e-4)
    assert np.allclose(answer.probability, MULTILABEL.probabilities(logits.numpy(), 1.7), atol=1e-5)


def test_what_has_no_graph_is_said(tmp_path):
    made = checkpoint(tmp_path, "test_resnet", map=MapRecipe("occlusion"))
    with pytest.raises(ExportError, match="'occlusion' have no graph"):
        export_checkpoint(made, tmp_path / "out")
    assert not (tmp_path / "out").exists()
