"""Boxes around what a heatmap shows."""

from __future__ import annotations

import numpy as np
import pytest

from hf_pneumo.explain.box import Box, boxes, otsu


@pytest.fixture
def heatmap() -> np.ndarray:
    heat = np.zeros((20, 30), dtype=np.float32)
    heat[2:6, 3:9], heat[10:16, 20:24] = 1.0, 0.6
    return heat


def test_regions_come_best_first(heatmap):
    first, second = boxes(heatmap)
    assert first == Box(3, 2, 6, 4, 1.0) and (second.x, second.y, second.w, second.h) == (20, 10, 4, 6)
    assert boxes(heatmap, threshold=0.7) == [first] and boxes(heatmap, max_boxes=1) == [first]


def test_specks_and_films_called_normal_have_none(heatmap):
    assert boxes(heatmap, positive=False) == [] == boxes(np.zeros((4, 4)))
    heatmap[0, 0] = 1
    assert len(boxes(heatmap)) == 2


def test_regions_that_touch_by_a_corner_are_one():
    assert len(boxes(np.eye(4))) == 1


def test_otsu_parts_two_levels(heatmap):
    assert 0.2 < otsu(np.where(heatmap > 0, 0.8, 0.2)) < 0.8 and len(boxes(heatmap, threshold="otsu")) >= 1


@pytest.mark.parametrize("threshold", [0, 1.5, "half"])
def test_another_threshold_is_refused(heatmap, threshold):
    with pytest.raises(ValueError, match="in \\(0, 1\\] or 'otsu'"):
        boxes(heatmap, threshold=threshold)
