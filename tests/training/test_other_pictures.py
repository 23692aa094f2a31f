"""Pictures that are no upright frontal film, made of such."""

from __future__ import annotations

import numpy as np

from hf_pneumo.imaging.phantom import phantoms
from hf_pneumo.training.other_pictures import make_other_pictures


def test_every_kind_has_grey_pictures():
    films = [phantom.film.gray8 for phantom in phantoms(2, size=128)]
    kinds = make_other_pictures(films, np.random.default_rng(0))
    assert len(kinds) >= 3 and all(kinds.values())
    assert all(p.dtype == np.uint8 and p.ndim == 2 for pictures in kinds.values() for p in pictures)
