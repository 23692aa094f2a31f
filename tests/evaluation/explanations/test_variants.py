"""Variants of maps: what each part changes, and what it leaves as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.evaluation.explanations.variants import PARTS, Variant, legend
from hf_pneumo.explain import explain
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.checkpoint import Checkpoint
from hf_pneumo.models.config import CheckpointConfig


def checkpoint_of(architecture: str, crop: str | None = None) -> Checkpoint:
    torch.manual_seed(0)
    network = timm.create_model(architecture, num_classes=2).eval()
    config = CheckpointConfig(architecture, PNEUMONIA, Preprocess(size=(64, 64), crop=crop))
    return Checkpoint(config, "made-up", None, Path("made-up"), network=network)


@pytest.mark.parametrize(
    ("name", "canonical"), [("plain", "plain"), ("lungs", "lungs"), ("lungs+crop", "crop+lungs"), ("smooth", "smooth")]
)
def test_a_name_is_read_and_written(name, canonical):
    assert Variant.parse(name).name == canonical
    assert Variant.parse(canonical) == Variant.parse(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [("lung", "`variants` holds 'lung'; give plain, or some of crop"), ("stride8+stride16", "two strides"),
     ("", "holds ''"), ("plain+lungs", "holds 'plain'")],
)  # fmt: skip
def test_a_wrong_name_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        Variant.parse(name)


def test_the_view_is_what_the_network_is_asked():
    assert Variant.parse("crop+lungs").view == Variant.parse("crop")
    assert Variant.parse("lungs").view == Variant()


def test_the_plain_map_and_the_mask_ask_the_same_checkpoint():
    checkpoint = checkpoint_of("test_resnet")
    assert Variant().checkpoint(checkpoint) is checkpoint
    assert Variant.parse("lungs").checkpoint(checkpoint) is checkpoint


def test_the_crop_changes_the_preprocessing_alone():
    checkpoint = checkpoint_of("test_resnet")
    altered = Variant.parse("crop").checkpoint(checkpoint)
    assert altered.config.preprocess.crop == "adaptive" and altered.network is checkpoint.network
    assert checkpoint.config.preprocess.crop is None
    with pytest.raises(ValueError, match="'crop', but made-up crops so always; leave it out"):
        Variant.parse("crop").checkpoint(checkpoint_of("test_resnet", crop="adaptive"))


def test_a_stride_makes_the_grid_finer_with_the_same_weights():
    checkpoint = checkpoint_of("test_efficientnet")
    altered = Variant.parse("stride16").checkpoint(checkpoint)
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    grids = [explain(one.network, images, method="eigencam", target=1)[0].grid for one in (checkpoint, altered)]
    assert [grid.shape for grid in grids] == [(2, 2), (4, 4)]
    weights, others = checkpoint.network.state_dict(), altered.network.state_dict()
    assert weights.keys() == others.keys() and all(torch.equal(weights[key], others[key]) for key in weights)
    assert altered.config.model_args == {"output_stride": 16} and not altered.network.training
    assert checkpoint.config.model_args == {}


def test_a_network_without_strides_says_so():
    with pytest.raises(ValueError, match="`model_args` {'output_stride': 16} do not suit test_vit"):
        Variant.parse("stride16").checkpoint(checkpoint_of("test_vit"))


def test_maps_are_held_to_each_films_own_lungs():
    maps = np.ones((2, 28, 28), dtype=np.float32)
    lungs = np.zeros((2, 28, 28), dtype=bool)
    lungs[0, :, :10], lungs[1, :, 18:] = True, True
    shown = Variant.parse("lungs").show(maps, lungs)
    assert (shown[lungs] == 1).all() and not shown[0, :, 12:].any() and not shown[1, :, :16].any()
    assert Variant().show(maps, lungs) is maps


def test_the_legend_explains_the_parts_that_occur():
    assert legend(["lungs", "crop+lungs"]) == f"crop: {PARTS['crop']}; lungs: {PARTS['lungs']}."
