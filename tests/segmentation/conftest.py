"""Phantoms in the layout of annotators' masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hf_pneumo.imaging.phantom import phantoms


def _mask_folder(root: Path, count: int = 6) -> Path:
    """``count`` phantoms of count / 2 patients in the layout of annotators' masks."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    lines = ["name,patient"]
    for i, phantom in enumerate(phantoms(count, seed=11, size=96)):
        Image.fromarray(np.rint(phantom.pixels * 255).astype(np.uint8)).save(root / f"images/film{i}.png")
        Image.fromarray(phantom.lungs.astype(np.uint8) * 255).save(root / f"masks/film{i}.png")
        lines.append(f"film{i},{i // 2}")
    (root / "masks.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def mask_folder():
    """A function that makes such a folder."""
    return _mask_folder
