"""Exporting asks for a checkpoint."""

from __future__ import annotations

import pytest

from hf_pneumo.cli.export_onnx import Arguments, run
from hf_pneumo.models.hub_download import CheckpointError


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError):
        run(Arguments(str(tmp_path), str(tmp_path / "out")))
