"""Heatmaps held to the lungs: known weights, known maxima, and what changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from hf_pneumo.explain import within_lungs
from hf_pneumo.imaging.lungs import find_lungs
from hf_pneumo.imaging.phantom import make_phantom


def test_the_weight_is_one_inside_and_falls_linearly_outside():
    lungs = np.zeros((20, 40), dtype=bool)
    lungs[:, :10] = True
    kept = within_lungs(np.ones((20, 40)), lungs, reach=0.1)  # 4 pixels
    assert kept.dtype == np.float32
    assert np.allclose(kept[:, :10], 1)
    assert kept[7, 10:16] == pytest.approx([0.75, 0.5, 0.25, 0, 0, 0])


def test_the_maximum_is_one_again():
    lungs = np.zeros((28, 28), dtype=bool)
    lungs[10:18, 10:18] = True
    heat = np.full((28, 28), 0.1)
    heat[0, 0], heat[12, 12] = 1.0, 0.4
    kept = within_lungs(heat, lungs)
    assert kept[0, 0] == 0 and kept[12, 12] == 1 and kept[14, 14] == pytest.approx(0.25)


def test_unknown_lungs_change_nothing_and_heat_far_from_them_is_gone():
    heat = np.random.default_rng(0).random((14, 14), dtype=np.float32)
    assert np.array_equal(within_lungs(heat, np.ones((14, 14), dtype=bool)), heat / heat.max())
    lungs, spot = np.zeros((2, 14, 14), dtype=bool)
    lungs[:, :4], spot[:, 10:] = True, True
    assert not within_lungs(spot, lungs).any()


def test_lungs_may_be_drawn_in_fewer_pixels():
    lungs = np.zeros((28, 28), dtype=bool)
    lungs[6:20, 4:12] = True
    fine = within_lungs(np.ones((112, 112)), lungs.repeat(4, 0).repeat(4, 1))
    assert within_lungs(np.ones((112, 112)), lungs) == pytest.approx(fine, abs=0.4)
    assert (within_lungs(np.ones((112, 112)), lungs)[26:78, 18:46] == 1).all()


def test_heat_on_a_phantoms_border_is_removed_and_on_its_opacity_kept():
    film = make_phantom(0, size=128, opacities=1)
    marked = film.mask * 0.5
    marked[:4] = 1.0  # the border is hotter
    kept = within_lungs(marked, find_lungs(film.pixels).mask(128, 128))
    assert not kept[:2].any()
    assert film.mask[np.unravel_index(kept.argmax(), kept.shape)]


@pytest.mark.parametrize(
    ("lungs", "reach", "message"),
    [
        (np.ones(4, dtype=bool), 0.1, r"`heatmap` \(4, 4\) and `lungs` \(4,\) must be one film's"),
        (np.zeros((4, 4), dtype=bool), 0.1, "`lungs` is false everywhere"),
        (np.ones((4, 4), dtype=bool), 0.0, "`reach` is 0.0; give a positive share"),
    ],
)
def test_what_cannot_be_held_to_lungs_is_refused(lungs, reach, message):
    with pytest.raises(ValueError, match=message):
        within_lungs(np.ones((4, 4)), lungs, reach=reach)
