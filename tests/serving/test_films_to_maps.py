"""What a graph computes is what `explain` gives."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import timm
import torch

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.explain import explain
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.config import CheckpointConfig
from hf_pneumo.models.tensors import to_tensor
from hf_pneumo.serving.films_to_maps import FilmsToMaps

SPEC = Preprocess(size=(64, 64))


def test_logits_probabilities_and_maps():
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=2).eval()
    module = FilmsToMaps(SimpleNamespace(config=CheckpointConfig("test_resnet", PNEUMONIA, SPEC), network=network))
    gray = np.random.default_rng(0).integers(0, 256, (2, 64, 64), dtype=np.uint8)
    logits, probability, heat = module(torch.from_numpy(gray)[:, None].float(), torch.tensor([[0.0, 1.0]] * 2))
    expected = explain(network, to_tensor(SPEC, gray), target=1)
    np.testing.assert_allclose(heat.detach(), np.stack([e.heatmap for e in expected]), atol=1e-4)
    np.testing.assert_allclose(logits.detach(), np.stack([e.logits for e in expected]), atol=1e-4)
    assert torch.allclose(probability.sum(1), torch.ones(2))
