"""Pictures that are unlike the films learnt from."""

from __future__ import annotations

import numpy as np
import pytest

from hf_pneumo.imaging.phantom import phantoms
from hf_pneumo.models.hub_download import CheckpointError
from hf_pneumo.models.ood_detector import DENSITY, SIDE, FilmDensity, thumbnails


@pytest.fixture(scope="module")
def gray() -> np.ndarray:
    return np.stack([phantom.film.gray8 for phantom in phantoms(8, size=96)])


def test_thumbnails_are_small_and_without_exposure(gray):
    small = thumbnails(gray)
    assert small.shape[0] == 8 and small.reshape(8, -1).shape[1] == SIDE**2
    assert np.abs(small.reshape(8, -1).mean(1)).max() < 1e-5
    np.testing.assert_allclose(thumbnails(gray // 2).reshape(8, -1), small.reshape(8, -1), atol=0.1)


def test_a_folder_without_one_has_none_and_a_damaged_one_is_named(tmp_path):
    assert FilmDensity.load(tmp_path) is None
    (tmp_path / DENSITY).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="fit it again with hf-pneumo fit-ood"):
        FilmDensity.load(tmp_path)
