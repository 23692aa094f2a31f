"""What a film knows of itself: its grey values and its lungs, each made once."""

from __future__ import annotations

import numpy as np
import pytest

from hf_pneumo.imaging import lungs as lungs_module
from hf_pneumo.imaging.lungs import find_lungs
from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.imaging.preprocess import Preprocess


def test_the_lungs_of_a_film_are_looked_for_once(monkeypatch):
    calls = []
    monkeypatch.setattr(lungs_module, "find_lungs", lambda pixels: calls.append(pixels.shape) or find_lungs(pixels))
    film = make_phantom(1, size=160).film
    assert calls == [] and film.lungs is film.lungs and film.gray8 is film.gray8
    assert calls == [(160, 160)]


@pytest.mark.parametrize("crop", [None, (0.1, 0.9, 0.2, 0.8), "adaptive", "lungs"])
def test_a_crop_is_the_same_with_lungs_that_were_looked_for_before(crop):
    film, preprocess = make_phantom(2, size=160, opacities=1).film, Preprocess((64, 64), crop=crop)
    alone, given = preprocess.crop_of(film.gray8), preprocess.crop_of(film.gray8, film.lungs)
    assert alone.box == given.box and alone.note == given.note
    assert np.array_equal(alone.lungs, given.lungs) if crop == "lungs" else given.lungs is None
