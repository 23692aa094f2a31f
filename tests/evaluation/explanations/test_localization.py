"""Localization metrics on maps whose figures are known by construction."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from hf_pneumo.evaluation.bootstrap import mean_estimate, patient_weights
from hf_pneumo.evaluation.estimate import Estimate
from hf_pneumo.evaluation.explanations import localization as loc

FRAME = (224, 224)


def spot(x: int, y: int) -> np.ndarray:
    heat = np.full(FRAME, 0.1, dtype=np.float32)
    heat[y, x] = 1.0
    return heat


@pytest.fixture
def truth() -> np.ndarray:
    return loc.box_mask([(50, 60, 20, 30)], FRAME, FRAME)  # columns 50-69, rows 60-89


def test_boxes_are_scaled_into_the_frame():
    mask = loc.box_mask([(100, 50, 200, 100), (0, 0, 1, 1)], (500, 1000), (50, 100))
    expected = np.zeros((50, 100), dtype=bool)
    expected[5:15, 10:30] = True
    expected[0, 0] = True  # a box smaller than a pixel still counts
    assert np.array_equal(mask, expected)


def test_a_box_over_the_edge_is_cut():
    assert loc.box_mask([(-5, -5, 10, 10), (8, 8, 10, 10)], (10, 10), (10, 10)).sum() == 25 + 4


@pytest.mark.parametrize(
    ("x", "y", "hit", "near"),
    [
        (50, 60, 1, 1),
        (69, 89, 1, 1),
        (70, 89, 0, 1),  # one pixel beside
        (84, 75, 0, 1),  # 15 pixels beside
        (85, 75, 0, 0),  # 16 pixels beside
        (80, 100, 0, 0),  # 11 right and 11 below: 15.6 pixels
        (79, 99, 0, 1),  # 10 and 10: 14.1 pixels
    ],
)
def test_pointing_is_within_fifteen_pixels(truth, x, y, hit, near):
    assert loc.pointing(spot(x, y), truth, 0) == hit
    assert loc.pointing(spot(x, y), truth) == near


def test_equal_maxima_share_the_point(truth):
    heat = spot(55, 65)
    heat[200, 200] = 1.0
    assert loc.pointing(heat, truth) == 0.5


def test_a_constant_map_points_nowhere(truth):
    assert loc.pointing(np.zeros(FRAME), truth) == 0
    assert loc.pointing(np.ones(FRAME), truth) == 0


def test_overlap_of_a_perfect_and_of_a_double_box(truth):
    heat = truth * 0.6
    heat[60:90, 70:90] = 0.3  # the box again, to its right
    found = loc.overlaps(heat, truth, np.array([0.1, 0.3, 0.31, 0.6, 0.7]))
    assert found == pytest.approx([0.5, 0.5, 1, 1, 0])


def test_average_precision_is_scikit_learns(truth):
    heat = np.random.default_rng(0).random(FRAME).astype(np.float32) + truth * 0.3
    heat = np.round(heat / heat.max(), 2)  # many ties
    expected = average_precision_score(truth.ravel(), heat.ravel())
    assert loc.average_precision(heat, truth) == pytest.approx(expected, abs=1e-9)
    assert loc.average_precision_of_counts(*loc.level_counts(heat, truth)) == pytest.approx(expected, abs=1e-3)


def test_average_precision_of_known_maps(truth):
    assert loc.average_precision(truth.astype(np.float32), truth) == 1
    assert loc.average_precision(np.ones(FRAME), truth) == pytest.approx(truth.mean())
    assert np.isnan(loc.average_precision(np.ones(FRAME), np.zeros(FRAME, dtype=bool)))


def test_energy_inside(truth):
    assert loc.energy_inside(np.ones(FRAME), truth) == pytest.approx(truth.mean())
    assert loc.energy_inside(truth * 0.5, truth) == 1
    assert loc.energy_inside(np.zeros(FRAME), truth) == 0


def test_halves_keep_patients_together():
    patients = [f"p{i % 20}" for i in range(60)]
    half = loc.halves(patients)
    assert all(len({half[i] for i in range(60) if patients[i] == name}) == 1 for name in set(patients))
    assert half[:20].sum() == 10
    assert np.array_equal(half, loc.halves(patients))


def test_the_threshold_never_comes_from_the_half_it_is_reported_on():
    half = np.array([0, 0, 1, 1])
    thresholds = np.array([0.2, 0.8])
    ious = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.6], [0.2, 0.6]])  # each half would like another threshold
    found, chosen = loc.cross_tuned(ious, half, thresholds)
    assert found == pytest.approx([0.1, 0.1, 0.2, 0.2])
    assert chosen == [0.8, 0.2]


def test_the_bootstrap_draws_patients():
    patients = ["a", "a", "b", "c"]
    weights = patient_weights(patients, 500)
    assert weights.shape == (500, 4)
    assert np.array_equal(weights[:, 0], weights[:, 1])
    assert (weights[:, [0, 2, 3]].sum(1) == 3).all()
    assert np.array_equal(weights, patient_weights(patients, 500))


def test_an_interval_has_the_size_that_theory_gives():
    values = np.random.default_rng(1).integers(0, 2, 400).astype(float)
    found = mean_estimate(values, patient_weights([str(i) for i in range(400)], 1000))
    error = np.sqrt(found.value * (1 - found.value) / 400)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert found.low < found.value < found.high


def test_perfect_maps_get_perfect_figures(truth):
    truths = np.stack([truth, np.roll(truth, 40, 1), np.roll(truth, 60, 0), np.roll(truth, 90, 1)])
    report = loc.measure_maps(truths.astype(np.float32), truths, list("abcd"), resamples=50)
    for name in ("pointing", "hit_rate", "pixel_auprc", "pixel_auprc_pooled", "energy", "iou"):
        assert getattr(report, name) == Estimate(1.0, 1.0, 1.0)
    assert all(entry.value == 1 for entry in report.iou_accuracy.values())
    assert list(report.iou_accuracy) == ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7"]
    assert report.constant_maps == 0
    assert report.films == report.patients == 4


def test_maps_and_truths_must_belong_together(truth):
    with pytest.raises(ValueError, match="must belong to the same films"):
        loc.measure_maps(np.ones((2, *FRAME)), truth[None], ["a"])


def test_false_activation_counts_what_would_be_shown():
    maps = np.zeros((4, 10, 10), dtype=np.float32)
    maps[:, :5] = 1.0
    called = np.array([True, False, False, False])
    found = loc.false_activation(maps, called, list("abcd"), 0.5, resamples=20)
    assert found.called_positive.value == 0.25
    assert found.area.value == 0.5
    assert found.area_shown.value == 0.125


def test_baselines_know_nothing_of_the_film(truth):
    bell = loc.centred_gaussian(FRAME)
    assert np.unravel_index(bell.argmax(), FRAME) == (111, 111)
    assert np.allclose(bell, bell[::-1, ::-1])
    noise = loc.random_maps(3, FRAME)
    assert noise.shape == (3, *FRAME)
    assert noise.max(axis=(1, 2)) == pytest.approx([1, 1, 1])
    assert np.array_equal(noise, loc.random_maps(3, FRAME))
    assert loc.mean_map(np.stack([truth, truth * 0.5])).max() == 1


def test_random_maps_point_as_often_as_the_near_area_is_large(truth):
    hits = np.mean([loc.pointing(heat, truth, 0) for heat in loc.random_maps(600, FRAME)])
    assert hits == pytest.approx(truth.mean(), abs=0.03)


def test_the_prior_of_a_film_never_holds_its_own_patients_boxes(truth):
    other = np.roll(truth, 100, 1)
    prior = loc.others_mean(np.stack([truth, truth, other]), ["a", "a", "b"])
    assert np.array_equal(prior[0] > 0, other)
    assert np.array_equal(prior[2] > 0, truth)
