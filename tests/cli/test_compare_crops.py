"""Checkpoints are told apart by their names."""

from __future__ import annotations

import pytest

from hf_pneumo.cli import compare_crops
from hf_pneumo.cli.compare_crops import Arguments, run


def test_two_of_one_name_are_refused_before_anything_is_drawn(monkeypatch, tmp_path):
    class Named:
        name = "same"

    monkeypatch.setattr(compare_crops, "load", lambda source: Named())
    with pytest.raises(ValueError, match="have the names same, same; give folders of different names"):
        run(Arguments(["a", "b"], output=str(tmp_path)))
