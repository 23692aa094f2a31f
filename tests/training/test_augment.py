"""Augmentation: known geometry, ranges kept, the same draw on any device, and only from the generator given."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from skimage import exposure

from hf_pneumo.training.augment import POLICIES, Policy, augmented, policy_named
from hf_pneumo.training.film_operations import clahe


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def films(n: int = 6, side: int = 48) -> torch.Tensor:
    return torch.randint(0, 256, (n, side, side), generator=generator(1), dtype=torch.uint8)


@pytest.mark.parametrize("name", POLICIES)
def test_policies_keep_shape_and_range_and_repeat(name):
    first = augmented(films(), POLICIES[name], generator())
    assert first.shape == (6, 48, 48) and first.dtype == torch.float32
    assert first.min() >= 0 and first.max() <= 1
    assert torch.equal(first, augmented(films(), POLICIES[name], generator()))
    if name != "none":
        assert not torch.equal(first, augmented(films(), POLICIES[name], generator(7)))


def test_none_only_scales():
    assert torch.equal(augmented(films(), POLICIES["none"], generator()), films().float() / 255)


def test_nothing_is_drawn_from_the_global_generator():
    before = torch.get_rng_state()
    augmented(films(), POLICIES["robust"], generator())
    assert torch.equal(before, torch.get_rng_state())


def test_flip_mirrors_exactly():
    x = films().float() / 255
    assert torch.allclose(augmented(x, Policy(flip=1.0), generator()), x.flip(-1), atol=1e-5)


def test_rotation_keeps_a_centred_disc():
    side = 65
    axis = torch.arange(side) - side // 2
    disc = ((axis.view(-1, 1) ** 2 + axis.view(1, -1) ** 2) < 20**2).float().expand(8, -1, -1)
    turned = augmented(disc, Policy(rotate=90), generator())
    assert (turned - disc).abs().mean() < 0.02


def test_shift_moves_the_centre_of_mass_by_at_most_the_share():
    dot = torch.zeros(64, 41, 41)
    dot[:, 20, 20] = 1
    moved = augmented(dot, Policy(shift=0.1), generator())
    place = torch.arange(41.0)
    offset = (moved.sum(1) * place).sum(1) / moved.sum((1, 2)) - 20
    assert offset.abs().max() <= 4.1 + 1e-3 and offset.abs().max() > 2


def test_each_film_of_a_batch_gets_its_own_draw():
    same = films(1).expand(6, -1, -1)
    changed = augmented(same, replace(POLICIES["light"], erase=0.0), generator())
    assert len({tuple(film.flatten().tolist()) for film in changed}) == 6


def test_clahe_flattens_the_histogram_as_skimage_does():
    ramp = (torch.linspace(0, 1, 64).view(1, 1, -1).expand(1, 64, -1) ** 3) * 0.3
    ours = clahe(ramp)
    theirs = torch.from_numpy(exposure.equalize_adapthist(ramp[0].double().numpy(), kernel_size=16, clip_limit=0.03))
    assert ours.std() > ramp.std() * 1.5  # more contrast than the film had
    assert torch.corrcoef(torch.stack([ours[0].flatten().double(), theirs.flatten()]))[0, 1] > 0.7


def test_clahe_of_a_flat_film_stays_flat():
    assert clahe(torch.full((2, 32, 32), 0.4)).std() < 1e-6


def test_unknown_policy_names_the_valid_ones():
    with pytest.raises(ValueError, match="none, paper, light, geometric, robust"):
        policy_named("heavy")


def cut_films(n: int = 8, side: int = 48) -> torch.Tensor:
    x = torch.randint(60, 200, (n, side, side), generator=generator(1), dtype=torch.uint8)
    x[:, :, : side // 8] = 0
    x[::2, : side // 2] = 0  # every other film lacks its upper half
    return x


def test_a_cut_stays_and_lungs_stay_above_zero():
    x = cut_films()
    same = augmented(x, Policy(gamma=0.3, noise=0.02, brightness=0.5), generator(), cut=True)
    assert torch.equal(same > 0, x > 0)
    moved = augmented(x, POLICIES["lungs"], generator(), cut=True)
    assert moved.min() == 0 and moved.max() <= 1 and moved[moved > 0].min() >= 1 / 255 - 1e-6


def test_the_edge_of_a_moved_cut_is_not_darkened():
    x = torch.zeros(4, 64, 64, dtype=torch.uint8)
    x[:, 16:48, 16:48] = 200
    moved = augmented(x, Policy(rotate=20), generator(), cut=True)
    assert torch.allclose(moved[moved > 0], torch.tensor(200 / 255), atol=0.01)


def test_borrowing_cuts_a_film_to_anothers_lungs_as_well():
    x = cut_films()
    lent = augmented(x, Policy(borrow=1.0), generator(), cut=True) > 0
    assert torch.equal(lent, (x > 0) & (x > 0).roll(1, 0))


def test_stretching_changes_height_over_width():
    x = torch.zeros(16, 65, 65)
    x[:, 20:45, 20:45] = 1.0
    found = augmented(x, Policy(stretch=0.3), generator())
    heights, widths = (found[:, :, 32] > 0.5).sum(1), (found[:, 32] > 0.5).sum(1)
    ratio = heights / widths
    assert ratio.max() > 1.1 and ratio.min() < 0.9 and ratio.max() < 1.35


def test_several_rectangles_are_erased():
    x = torch.full((64, 48, 48), 0.5)
    one, three = (
        (augmented(x, Policy(erase=1.0, erasures=k), generator(), cut=True) == 0).float().mean() for k in (1, 3)
    )
    assert 0.03 < one < 0.12 and three > 2 * one
