"""Steps of an augmentation: each on its share of films, and what each does to a film that is known."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from hf_pneumo.training import augment_steps as steps
from hf_pneumo.training.augment_steps import PAPER, Steps
from hf_pneumo.training.film_operations import Draws

N = 400


def apply(operation: steps.Operation, films: torch.Tensor) -> torch.Tensor:
    return operation(films, Draws(len(films), films.device, torch.Generator().manual_seed(3)))


def flat(value: float, side: int = 40) -> torch.Tensor:
    return torch.full((N, side, side), value)


def test_the_papers_steps_in_its_order_with_its_probabilities() -> None:
    assert [(share, getattr(operation, "func", operation).__name__) for share, operation in PAPER.steps] == [
        (0.5, "affine"), (0.5, "affine"), (0.5, "brightness_contrast"), (0.3, "equalise"), (0.3, "gamma"),
        (0.2, "noise"), (0.1, "motion_blur"), (0.1, "median"), (0.1, "holes"),
    ]  # fmt: skip


def test_a_step_reaches_its_share_of_the_films_and_leaves_the_rest_and_the_input() -> None:
    films = flat(0.5)
    changed = Steps(((0.3, lambda x, _: x + 0.2),)).apply(films, torch.Generator().manual_seed(0))
    hit = (changed != 0.5).flatten(1).any(1)
    assert hit.float().mean().item() == pytest.approx(0.3, abs=0.05) and (films == 0.5).all()
    assert torch.allclose(changed[hit], torch.tensor(0.7)) and (changed[~hit] == 0.5).all()


def test_grey_values_move_within_their_limits() -> None:
    lit = apply(partial(steps.brightness_contrast, limit=0.2), flat(0.5))[:, 0, 0]
    assert lit.min() >= 0.5 * 0.8 - 0.2 and lit.max() <= 0.5 * 1.2 + 0.2 and lit.std() > 0.1
    curved = apply(partial(steps.gamma, low=0.8, high=1.2), flat(0.5))[:, 0, 0]
    assert 0.5**1.2 <= curved.min() < 0.45 and 0.55 < curved.max() <= 0.5**0.8
    spread = apply(partial(steps.noise, low=0.2, high=0.44), flat(0.5)).std((1, 2))
    assert spread.min() > 0.18 and spread.max() < 0.46


def test_scale_is_drawn_for_height_and_width_apart() -> None:
    square = torch.zeros(N, 101, 101)
    square[:, 30:71, 30:71] = 1  # 41 pixels wide
    scaled = apply(partial(steps.affine, scale=0.1), square)
    high, wide = scaled[:, :, 50].sum(1), scaled[:, 50].sum(1)
    assert high.min() > 36 and high.max() < 46 and torch.corrcoef(torch.stack([high, wide]))[0, 1].abs() < 0.2


def test_motion_spreads_a_point_over_a_line_and_keeps_its_sum() -> None:
    point = torch.zeros(N, 15, 15)
    point[:, 7, 7] = 1
    blurred = apply(steps.motion_blur, point)
    assert torch.allclose(blurred.sum((1, 2)), torch.ones(N), atol=1e-5)
    lit = (blurred > 0).flatten(1).sum(1)
    assert lit.min() >= 1 and lit.max() <= 7 and set(lit.tolist()) >= {2, 3, 5}
    rows, columns = (blurred > 0).any(2).sum(1), (blurred > 0).any(1).sum(1)
    assert (torch.maximum(rows, columns) <= 7).all()


def test_the_median_takes_a_speck_and_leaves_an_edge() -> None:
    film = torch.zeros(1, 12, 12)
    film[:, :, 6:] = 1
    film[0, 3, 2] = 1
    cleaned = apply(steps.median, film)
    film[0, 3, 2] = 0
    assert torch.equal(cleaned, film)


def test_one_or_two_holes_of_a_tenth_to_a_fifth_of_the_side() -> None:
    black = (apply(partial(steps.holes, smallest=0.1, largest=0.2), flat(1.0, 100)) == 0).float().mean((1, 2))
    assert black.min() >= 0.009 and black.max() <= 0.08 and (black > 0.04).float().mean() > 0.1


def test_equalising_raises_a_weak_contrast() -> None:
    ramp = torch.linspace(0.45, 0.55, 64).expand(4, 64, 64)
    assert (apply(partial(steps.equalise, strongest=4.0, tiles=8), ramp).std((1, 2)) > ramp.std((1, 2))).all()
