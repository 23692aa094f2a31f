"""On phantoms the truth is planted: the map of a network that has learnt them must point at it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hf_pneumo.evaluation.explanations.annotations import FRESH_SEED
from hf_pneumo.evaluation.explanations.localization import FRAME, box_mask, centred_gaussian, pointing
from hf_pneumo.explain import explain
from hf_pneumo.imaging.phantom import phantoms
from hf_pneumo.models.checkpoint import load
from hf_pneumo.models.tensors import to_tensor
from hf_pneumo.training.config import TrainConfig
from hf_pneumo.training.run import train

SHIPPED = Path(__file__).parents[2] / "space" / "checkpoints" / "pneumonia-paper" / "model.safetensors"
ENOUGH = 0.9


@dataclass(frozen=True)
class Measured:
    """Share of fresh ill phantoms whose map, and whose film's mere centre, points at an opacity."""

    pointing: float
    inside: float
    centre: float


def measured(folder: Path, films: int = 100, **how: object) -> Measured:
    """Pointing game of the default Grad-CAM: with 15 pixels of tolerance at 224 ("pointing") and none ("inside").

    ``how``: options of `explain`.
    """
    checkpoint = load(folder)
    ill = [p for p in phantoms(films, seed=FRESH_SEED, size=FRAME) if p.label]
    images = to_tensor(checkpoint.config.preprocess, np.stack([p.pixels for p in ill]))  # (N, 3, h, w)
    parts, how = images.split(10), {"offset": checkpoint.config.cam_offset, **how}
    maps = [e.heatmap for x in parts for e in explain(checkpoint.network, x, target=1, **how)]
    truths = [box_mask(p.boxes, (FRAME, FRAME), (FRAME, FRAME)) for p in ill]
    centre = centred_gaussian((FRAME, FRAME))
    return Measured(
        pointing=float(np.mean([pointing(m, t) for m, t in zip(maps, truths, strict=True)])),
        inside=float(np.mean([pointing(m, t, 0.0) for m, t in zip(maps, truths, strict=True)])),
        centre=float(np.mean([pointing(centre, t) for t in truths])),
    )


def taught(folder: Path, films: int, **choices: object) -> Path:
    """A checkpoint trained on phantoms by the training that real films get; it also measures where its cells look."""
    source = {"dataset": f"phantom:{films}", "output": str(folder / "run"), "cache": str(folder / "films")}
    return train(TrainConfig(**source, **choices))


# Weights that know films learn phantoms in seconds; random ones take minutes, smaller films first.
FINE_TUNED = {"model": "tf_efficientnet_lite0", "init_weights": str(SHIPPED), "train_last": 10, "epochs": 4}
FROM_SCRATCH = {"model": "resnet18", "low_res_epochs": 2, "low_res_size": 112, "epochs": 7, "augment": "none"}


def test_gradcam_points_at_the_opacity_after_seconds_of_training(tmp_path):
    result = measured(taught(tmp_path, 400, batch_size=8, learning_rate=7e-4, **FINE_TUNED))
    assert result.centre < 0.6
    assert result.pointing >= ENOUGH, result


@pytest.mark.slow
def test_a_resnet_from_random_weights_points_where_its_cells_look(tmp_path):
    """And seldom inside the opacity where its map is laid evenly."""
    folder = taught(tmp_path, 1000, batch_size=16, learning_rate=1e-3, **FROM_SCRATCH)
    assert all(-24 < pixels < -8 for pixels in load(folder).config.cam_offset)  # strides and padding alone give -15.5
    placed, even = measured(folder), measured(folder, offset=(0.0, 0.0))
    assert placed.pointing >= ENOUGH, placed
    assert even.inside < placed.inside - 0.2, (placed, even)


@pytest.mark.slow
def test_a_densenet_from_random_weights_points_at_the_opacity(tmp_path):
    choices = {"model": "densenet121", "low_res_epochs": 3, "low_res_size": 112, "epochs": 6, "augment": "none"}
    result = measured(taught(tmp_path, 1000, batch_size=16, learning_rate=1e-3, **choices))
    assert result.pointing >= ENOUGH, result
