"""Random draws a film, and contrast by tiles."""

from __future__ import annotations

import torch

from hf_pneumo.training.film_operations import clahe


def test_a_film_stays_in_range_and_gains_contrast():
    film = 0.4 + 0.1 * torch.rand(2, 64, 64, generator=torch.Generator().manual_seed(0))
    after = clahe(film)
    assert after.shape == film.shape and after.min() >= 0 and after.max() <= 1 and after.std() > film.std()


def test_every_film_is_taken_by_itself():
    films = torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(clahe(films)[1:], clahe(films[1:]))
