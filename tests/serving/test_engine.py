"""Films as a model needs them."""

from __future__ import annotations

import numpy as np

from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.serving.engine import Shown, stacked


def test_films_are_made_anew_only_where_the_map_wants_another_size():
    plain, finer = Preprocess(size=(8, 8)), Preprocess(size=(16, 16))
    pixels = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32).astype(np.uint8)
    shown = Shown(pixels, plain.crop_of(pixels), plain.to_gray(pixels))
    np.testing.assert_array_equal(stacked([shown, shown], plain, plain), np.stack([shown.gray] * 2))
    np.testing.assert_array_equal(stacked([shown], plain, finer)[0], finer.to_gray(pixels))
