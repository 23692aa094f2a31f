"""A small but complete checkpoint folder, and a film."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hf_pneumo.models.training_record import DataRecord, TrainingRecord

sys.path.insert(0, str(Path(__file__).parent))

from checkpoints import POINT, SOURCE, make_network, measure, measure_beside

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.checkpoint import save
from hf_pneumo.models.classifier import parameter_count
from hf_pneumo.models.config import CheckpointConfig


@pytest.fixture(scope="session")
def complete_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pneumonia-test")
    network = make_network("test_vit2")
    config = CheckpointConfig(
        "test_vit2", PNEUMONIA, Preprocess(size=(160, 160)), operating_point=POINT, cam_layer="blocks.1",
        data=DataRecord(source=SOURCE, protocol="official", films={"train": 4, "val": 2, "test": 80}),
        training=TrainingRecord(
            config={"seed": 3}, command="hf-pneumo train", initial_weights="ImageNet",
            parameters=parameter_count(network), best_epoch=2, epochs_run=3, seconds=12,
            hardware="cpu", versions={"torch": torch.__version__},
        ),
    )  # fmt: skip
    save(folder, network, config)
    (folder / "training.jsonl").write_text('{"epoch": 0}\n')
    for seed, (protocol, subset) in enumerate((("official", "test"), ("paper", "test"), ("official", "val"))):
        measure(folder, protocol, subset, seed)
    measure_beside(folder)
    return folder


@pytest.fixture
def checkpoint_folder(complete_folder: Path, tmp_path: Path) -> Path:
    """A copy of the complete folder that a test may change."""
    return Path(shutil.copytree(complete_folder, tmp_path / "pneumonia-test"))


@pytest.fixture(scope="session")
def film() -> Image.Image:
    """An 8-bit grey film of an odd size."""
    pixels = make_phantom(1, size=200).pixels[:190]
    return Image.fromarray(np.rint(pixels * 255).astype(np.uint8))
