"""What an explanation holds."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from hf_pneumo.explain.explanation import Explanation


def test_it_is_frozen_and_plain_unless_said():
    map_ = np.zeros((2, 2), dtype=np.float32)
    made = Explanation(map_, map_, "gradcam", "layer4", "1", False, np.zeros(2))
    assert made.smoothing == "none" and not made.within_lungs and made.convergence_delta is None
    with pytest.raises(FrozenInstanceError):
        made.method = "cam"
