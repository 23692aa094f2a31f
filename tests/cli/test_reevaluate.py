"""What is measured again is a checkpoint's own folder."""

from __future__ import annotations

import pytest

from hf_pneumo.cli.reevaluate import Arguments, run
from hf_pneumo.models.hub_download import CheckpointError


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises((CheckpointError, ValueError)):
        run(Arguments([str(tmp_path)]))
