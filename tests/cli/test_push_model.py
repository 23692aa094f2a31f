"""Pushing asks for a checkpoint before the Hub is."""

from __future__ import annotations

import pytest

from hf_pneumo.cli.push_model import Arguments, run
from hf_pneumo.models.hub_download import CheckpointError


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError):
        run(Arguments(repo="user/name", checkpoint=str(tmp_path), dry_run=True, output=str(tmp_path / "out")))
