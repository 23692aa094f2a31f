"""Cards of a folder of checkpoints."""

from __future__ import annotations

import pytest

from hf_pneumo.cli.write_cards import Arguments, run


def test_a_folder_without_checkpoints_has_none(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ValueError, match="holds no checkpoint folders"):
        run(Arguments(checkpoints=str(tmp_path / "checkpoints"), studies=[], output=str(tmp_path / "cards")))
    assert not (tmp_path / "cards").exists()
