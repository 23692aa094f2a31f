"""Remove and debias: what is filled in hides what was there."""

from __future__ import annotations

import numpy as np
import torch

from hf_pneumo.evaluation.explanations.road import removal_curve


def test_a_ranking_that_knows_what_the_score_reads_is_above_zero_and_its_reverse_below():
    image = torch.zeros(1, 16, 16)
    image[:, :, 8:] = 1.0
    bright_first = np.argsort(-image.flatten().numpy(), kind="stable")

    def brightness(images: torch.Tensor) -> torch.Tensor:
        return images[:, 0, :, 8:].mean((1, 2))

    right = removal_curve(brightness, image, bright_first, shares=(0.4,))
    wrong = removal_curve(brightness, image, bright_first[::-1].copy(), shares=(0.4,))
    assert np.mean(right) > 0 > np.mean(wrong)
