"""The network's own answers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import timm

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.config import CheckpointConfig
from hf_pneumo.models.map_recipe import MapRecipe
from hf_pneumo.serving.engine import Shown
from hf_pneumo.serving.torch_engine import TorchEngine

SPEC = Preprocess(size=(64, 64))


def test_a_map_comes_with_the_logits_of_its_own_pass():
    network = timm.create_model("test_resnet", num_classes=2)
    config = CheckpointConfig("test_resnet", PNEUMONIA, SPEC)
    engine = TorchEngine(SimpleNamespace(config=config, network=network, path=Path()))
    films = []
    for seed in (1, 2):
        pixels = make_phantom(seed, size=96).film.gray8
        films.append(Shown(pixels, SPEC.crop_of(pixels), SPEC.to_gray(pixels)))
    logits, explanations = engine.explained(films, [1, 0], MapRecipe(), {})
    np.testing.assert_allclose(logits, engine.logits(films), atol=1e-5)
    assert [e.target for e in explanations] == ["1", "0"] and explanations[0].heatmap.shape == (64, 64)
