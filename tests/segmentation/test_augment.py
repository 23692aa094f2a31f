"""Augmentation: known values, masks that move with their films, opacities that stay within the lungs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hf_pneumo.imaging import lungs as imaging
from hf_pneumo.segmentation import augment
from hf_pneumo.segmentation.augment import augmented, standardised


def batch(count=8, size=192):
    films = torch.full((count, 1, size, size), 0.7)
    lungs = torch.zeros_like(films)
    lungs[:, :, 50:140, 40:85] = lungs[:, :, 50:140, 110:155] = 1
    return torch.where(lungs > 0, 0.2, films), lungs, torch.ones_like(films)


def test_it_standardises_as_the_package_does():
    film = np.random.default_rng(0).integers(0, 256, (160, 160), dtype=np.uint8)
    ours = standardised(torch.from_numpy(film)[None, None] / 255)[0, 0].numpy()
    assert np.abs(ours - imaging.standardised(film)).max() < 1e-4


def test_masks_move_with_their_films():
    films, lungs, trusted = augmented(*batch(16), torch.Generator().manual_seed(1))
    assert films.shape == lungs.shape == trusted.shape == (16, 1, 160, 160)
    assert films.mean((2, 3)).abs().max() < 1e-4 and trusted.all()
    inside, outside = lungs > 0.9, lungs < 0.1
    darker = [(x[i].mean() < x[o].mean()).item() for x, i, o in zip(films, inside, outside, strict=True)]
    assert sum(darker) >= 13  # a black surrounding may turn it round


def test_opacities_are_painted_within_the_lungs_alone_and_only_brighten():
    films, lungs, _ = batch(32)
    painted = augment._opacities(films, lungs, torch.Generator().manual_seed(2))
    changed = (painted - films).abs() > 1e-3
    assert not (changed & (lungs == 0)).any() and (painted >= films - 1e-6).all()
    share = changed.any(dim=3).any(dim=2).float().mean()
    assert 0.3 < share < 0.7


def test_disputed_places_stay_disputed_where_they_move_to():
    films, lungs, trusted = batch(4)
    trusted[:, :, 90:110, 60:80] = 0
    _, _, moved = augmented(films, lungs, trusted, torch.Generator().manual_seed(3))
    share = (moved == 0).float().mean((1, 2, 3))
    assert share.numpy() == pytest.approx(20 * 20 / 192**2, rel=0.6)


def test_the_same_generator_gives_the_same_batch():
    once, again = (augmented(*batch(4), torch.Generator().manual_seed(5))[0] for _ in range(2))
    assert torch.equal(once, again)
