from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from hf_pneumo.imaging.phantom import make_phantom, phantoms

SMALL = 64


@pytest.fixture(scope="module")
def collection():
    return list(phantoms(360, seed=5, size=SMALL))


@pytest.mark.parametrize("opacities", [0, 1, 2])
@pytest.mark.parametrize("size", [48, 96, 256])
def test_a_phantom_is_what_it_says(size, opacities):
    phantom = make_phantom(11, size=size, opacities=opacities)
    assert phantom.pixels.shape == phantom.mask.shape == phantom.lungs.shape == (size, size)
    assert phantom.pixels.dtype == np.float32 and phantom.mask.dtype == phantom.lungs.dtype == bool
    assert phantom.pixels.min() >= 0 and phantom.pixels.max() <= 1
    assert phantom.pixels.std() > 0.1
    assert phantom.label == (opacities > 0) and type(phantom.label) is int
    assert len(phantom.boxes) == opacities


def test_seeds_reproduce_bit_for_bit_and_differ():
    first, again, other = make_phantom(3, size=96, opacities=2), make_phantom(3, size=96, opacities=2), make_phantom(4)
    assert first.pixels.tobytes() == again.pixels.tobytes()
    assert first.boxes == again.boxes and np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.pixels, make_phantom(4, size=96, opacities=2).pixels)
    assert other.pixels.shape == (256, 256)


def test_global_random_state_is_left_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    make_phantom(1, size=SMALL, opacities=2)
    assert np.array_equal(before, np.random.get_state()[1])


def test_boxes_are_tight_around_the_mask():
    for seed in range(60):
        phantom = make_phantom(seed, size=96, opacities=1 + seed % 2)
        rest = phantom.mask.copy()
        for x, y, w, h in phantom.boxes:
            inside = phantom.mask[y : y + h, x : x + w]
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
            rest[y : y + h, x : x + w] = False
            assert w >= 5 and h >= 5
        assert not rest.any()


def test_opacities_lie_inside_the_lungs_and_apart():
    for seed in range(60):
        phantom = make_phantom(seed, size=96, opacities=2)
        assert not (phantom.mask & ~phantom.lungs).any()
        separate, count = ndimage.label(ndimage.binary_dilation(phantom.mask))
        for (ax, ay, aw, ah), (bx, by, bw, bh) in itertools.combinations(phantom.boxes, 2):
            assert not np.intersect1d(
                separate[ay : ay + ah, ax : ax + aw][phantom.mask[ay : ay + ah, ax : ax + aw]],
                separate[by : by + bh, bx : bx + bw][phantom.mask[by : by + bh, bx : bx + bw]],
            ).size
        assert count >= 2


def test_a_diseased_twin_differs_by_the_opacity_alone():
    for seed in range(10):
        normal, sick = make_phantom(seed, size=128), make_phantom(seed, size=128, opacities=1)
        change = sick.pixels - normal.pixels
        around = ndimage.binary_dilation(sick.mask, iterations=24)
        assert np.abs(change[~around]).max() == 0
        assert change[sick.mask].mean() > 0.03
        assert change.min() > -1e-3


def test_both_lungs_are_there_and_the_film_is_dark_in_them():
    for seed in range(20):
        phantom = make_phantom(seed, size=128)
        left, right = phantom.lungs[:, :64], phantom.lungs[:, 64:]
        assert 0.15 < left.mean() < 0.6 and 0.15 < right.mean() < 0.6
        assert phantom.pixels[phantom.lungs].mean() < phantom.pixels[40:, 20:108][~phantom.lungs[40:, 20:108]].mean()


def test_a_run_is_balanced_and_a_shorter_one_is_its_prefix(collection):
    assert sum(p.label for p in collection) == len(collection) // 2
    assert {len(p.boxes) for p in collection} == {0, 1, 2}
    for short, long in zip(phantoms(5, seed=5, size=SMALL), collection, strict=False):
        assert np.array_equal(short.pixels, long.pixels)
    assert len({p.pixels.tobytes() for p in collection}) == len(collection)
    assert [p.label for p in phantoms(8, seed=6, size=48)] != [p.label for p in phantoms(8, seed=9, size=48)]


def test_neither_mean_nor_border_gives_the_label_away(collection):
    labels = np.array([p.label for p in collection])
    assert 0.5 <= roc_auc_score(labels, [p.pixels.mean() for p in collection]) < 0.7
    rim = np.ones((SMALL, SMALL), bool)
    rim[5:-5, 5:-5] = False
    border = np.stack([p.pixels[rim] for p in collection])
    guess = cross_val_predict(LogisticRegression(max_iter=200), border, labels, cv=5, method="predict_proba")[:, 1]
    assert 0.38 < roc_auc_score(labels, guess) < 0.62


def test_a_small_network_learns_the_label_in_seconds(collection):
    torch.manual_seed(0)
    films = torch.stack([torch.from_numpy(p.pixels) for p in collection])[:, None] * 4 - 2
    labels = torch.tensor([p.label for p in collection])
    layers: list[torch.nn.Module] = []
    for width, wider in ((1, 16), (16, 32), (32, 64)):
        layers += [torch.nn.Conv2d(width, wider, 5, 2, 2), torch.nn.BatchNorm2d(wider), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers, torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten(), torch.nn.Linear(64, 2))
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(14):
        for batch in torch.randperm(280).split(20):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(net(films[batch]), labels[batch]).backward()
            optimiser.step()
    with torch.no_grad():
        score = net.eval()(films[280:])[:, 1]
    assert roc_auc_score(labels[280:], score) > 0.85


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"seed": -1}, ValueError, "`seed`"),
        ({"seed": "1"}, TypeError, "`seed`"),
        ({"seed": 1, "size": 16}, ValueError, "`size`"),
        ({"seed": 1, "size": 64.0}, TypeError, "`size`"),
        ({"seed": 1, "opacities": 3}, ValueError, "`opacities`"),
        ({"seed": 1, "opacities": True}, TypeError, "`opacities`"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, named):
    with pytest.raises(error, match=named):
        make_phantom(**arguments)


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match="`n`"):
        next(phantoms(-1))
