"""A checkpoint folder without its network."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_pneumo.models.folder import open_folder
from hf_pneumo.models.hub_download import CheckpointError

SHIPPED = Path(__file__).resolve().parents[2] / "space/checkpoints/pneumonia-children"


def test_a_shipped_one_says_all_but_the_answers():
    folder = open_folder(SHIPPED)
    assert folder.name == "pneumonia-children" and folder.revision is None and len(folder.sha256) == 64
    assert folder.config.operating_point.is_fitted


def test_what_is_none_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(CheckpointError):
        open_folder(tmp_path)
