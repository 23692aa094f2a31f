"""Films cut to their lungs: known masks, values and places; cut films told from whole ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from hf_pneumo.imaging.lung_cut import box_of, cut_to_lungs, lungs_of_cut_film
from hf_pneumo.imaging.phantom import make_phantom, phantoms
from hf_pneumo.imaging.preprocess import Crop, Preprocess
from hf_pneumo.models.tensors import to_tensor

SPEC = Preprocess(size=(64, 64), crop="lungs", mean=(0.0,) * 3, std=(1.0,) * 3)


def two_lungs(height: int = 200, width: int = 240) -> np.ndarray:
    y, x = np.mgrid[:height, :width] / np.array([height, width]).reshape(2, 1, 1)
    return sum(((y - 0.5) / 0.3) ** 2 + ((x - centre) / 0.12) ** 2 < 1 for centre in (0.3, 0.7)).astype(bool)


def test_the_box_is_tight_with_its_margin():
    mask = np.zeros((100, 200), dtype=bool)
    mask[20:70, 40:140] = True
    assert box_of(mask, margin=0) == (0.2, 0.7, 0.2, 0.7)
    assert box_of(mask, margin=0.1) == (0.15, 0.75, 0.15, 0.75)
    assert box_of(np.ones((10, 10), dtype=bool)) == (0.0, 1.0, 0.0, 1.0)


def test_nothing_beside_the_lungs_enters():
    mask = two_lungs()
    film = np.where(mask, 90, 250).astype(np.uint8)
    cut = cut_to_lungs(film, mask, box_of(mask), (64, 64), Image.Resampling.BILINEAR)
    inside = ndimage.binary_erosion(cut > 0)
    assert set(np.unique(cut[inside])) == {90}
    assert 0.3 < (cut > 0).mean() < 0.8 and not cut[:2, :2].any()


def test_black_lungs_stay_lungs():
    mask = two_lungs()
    cut = cut_to_lungs(np.zeros(mask.shape, np.uint8), mask, box_of(mask), (32, 32), Image.Resampling.BILINEAR)
    assert set(np.unique(cut)) == {0, 1}


def test_a_cut_film_is_taken_as_it_is_and_a_whole_one_is_not():
    mask = two_lungs()
    rng = np.random.default_rng(0)
    film = np.where(mask, rng.integers(60, 200, mask.shape), rng.integers(0, 8, mask.shape)).astype(np.uint8)
    film[95:105, 66:74] = 0  # a hole, as where an opacity was left out
    found = lungs_of_cut_film(film)
    assert (found & mask).sum() / (found | mask).sum() > 0.95 and found[100, 70]
    assert all(lungs_of_cut_film(phantom.film.gray8) is None for phantom in phantoms(8))


def test_where_no_lungs_are_seen_the_whole_film_is_shown_and_it_is_said():
    crop = SPEC.crop_of(np.random.default_rng(0).integers(90, 110, (128, 128), dtype=np.uint8))
    if crop.note:
        assert crop.box == (0.0, 1.0, 0.0, 1.0) and crop.lungs.all()
    assert (SPEC.to_gray(np.full((128, 128), 100, np.uint8), Crop(lungs=np.ones((4, 4), dtype=bool))) == 100).all()


def test_grey_is_standardised_inside_and_zero_outside():
    gray = SPEC.to_gray(make_phantom(3).film.gray8)
    x = to_tensor(SPEC, gray[None])[0, 0]
    inside = torch.from_numpy(gray > 0)
    assert x[inside].mean().abs() < 1e-4 and abs(x[inside].std(correction=0) - 1) < 1e-3
    assert not x[~inside].any() and (~inside).any()


def test_exposure_and_contrast_of_a_film_do_not_matter():
    mask = two_lungs()
    film = np.random.default_rng(1).integers(50, 100, mask.shape).astype(np.uint8)
    one, other = (
        to_tensor(SPEC, SPEC.to_gray(pixels.astype(np.uint8), Crop(box_of(mask), "", mask))[None])
        for pixels in (film, 2 * film.astype(int) + 20)
    )
    assert (one - other).abs().mean() < 0.1


def test_flat_lungs_are_not_blown_up():
    flat = np.zeros((1, 16, 16), np.uint8)
    flat[0, 4:12, 4:12] = 100
    flat[0, 4, 4] = 101
    assert to_tensor(SPEC, flat).abs().max() < 0.25


def test_maps_are_laid_over_the_lungs_box_alone():
    mask = two_lungs()
    crop = Crop(box_of(mask), "", mask)
    back = SPEC.to_original(np.ones((64, 64), np.float32), mask.shape, crop)
    assert back[mask].all() and not back[:10].any() and not back[:, :10].any()


@pytest.mark.parametrize("size", [(40, 60), (1200, 900)])
def test_any_film_size_gives_the_models_input(size):
    film = np.asarray(Image.fromarray(make_phantom(1).film.gray8).resize(size[::-1]))
    assert SPEC.to_gray(film).shape == (64, 64)
