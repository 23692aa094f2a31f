"""Files of weights that are none are told why."""

from __future__ import annotations

import pytest

from hf_pneumo.cli.convert_checkpoint import Arguments, run
from hf_pneumo.models.hub_download import CheckpointError


@pytest.mark.parametrize("content", [b"", b"no weights at all"])
def test_what_holds_no_weights_is_refused_in_a_sentence(content, tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises((CheckpointError, ValueError, OSError)):
        run(Arguments(str(path), str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()
