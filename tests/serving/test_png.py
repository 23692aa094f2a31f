"""PNG as Pillow reads it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from hf_pneumo.serving.png import encode


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 3, 3), (40, 70, 3)])
def test_every_pixel_comes_back(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    again = Image.open(io.BytesIO(encode(Image.fromarray(pixels))))
    assert again.mode == "RGB" and np.array_equal(np.asarray(again), pixels)


def test_grey_is_written_in_colour():
    again = Image.open(io.BytesIO(encode(Image.new("L", (4, 4), 7))))
    assert np.asarray(again).tolist() == np.full((4, 4, 3), 7).tolist()
