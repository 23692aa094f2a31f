"""A graph is taken where it is that of exactly these weights, and left out where it is not, or is damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hf_pneumo.models.folder import open_folder
from hf_pneumo.serving.graph import LIGHT
from hf_pneumo.serving.graph_store import open_graph

SHIPPED = Path(__file__).parents[2] / "space" / "checkpoints" / "pneumonia-children"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if not (SHIPPED / LIGHT).is_file():
        pytest.skip("the shipped checkpoint has no graph of its own")
    for name in ("config.json", "model.safetensors", LIGHT):
        shutil.copy(SHIPPED / name, tmp_path)
    return tmp_path


def rewritten(path: Path, *, without: int = 0) -> None:
    """The same tensors, less the last ``without``, in a file of another layout."""
    tensors = load_file(path)
    kept = dict(list(tensors.items())[: len(tensors) - without])
    save_file({name: np.array(value) for name, value in kept.items()}, path, metadata={"from": "elsewhere"})


def test_the_graph_of_these_weights_is_taken(folder: Path) -> None:
    assert open_graph(open_folder(folder)) is not None


@pytest.mark.parametrize("without", [0, 40])
def test_weights_of_elsewhere_leave_the_graph_out(folder: Path, without: int) -> None:
    rewritten(folder / "model.safetensors", without=without)
    assert open_graph(open_folder(folder)) is None


def test_a_damaged_graph_is_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = (folder / LIGHT).read_bytes()
    (folder / LIGHT).write_bytes(content[: len(content) // 2])
    assert open_graph(open_folder(folder)) is None
    assert "cannot be opened" in caplog.text
