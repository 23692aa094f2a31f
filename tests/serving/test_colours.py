"""Heat over a film."""

from __future__ import annotations

import matplotlib
import numpy as np

from hf_pneumo.serving.colours import INFERNO, STRENGTH, blended


def test_the_table_is_matplotlibs():
    theirs = np.asarray(matplotlib.colormaps["inferno"](np.arange(256), bytes=True))[:, :3]
    assert np.abs(INFERNO.astype(int) - theirs).max() <= 1


def test_without_heat_the_film_shows_and_with_all_of_it_the_colour():
    gray = np.array([[0, 128, 255]], dtype=np.uint8)
    cold, hot = (blended(gray, np.full_like(gray, level)) for level in (0, 255))
    assert cold[0].tolist() == [[0] * 3, [128] * 3, [255] * 3]
    np.testing.assert_allclose(hot[0, 0], INFERNO[255] * STRENGTH, atol=1)
