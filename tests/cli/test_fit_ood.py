"""The check for other pictures is added to a folder."""

from __future__ import annotations

import pytest

from hf_pneumo.cli.fit_ood import Arguments, run


def test_only_a_folder_can_be_added_to():
    with pytest.raises(ValueError, match="is no folder here"):
        run(Arguments("user/name", "phantom:10"))
