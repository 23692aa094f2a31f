"""Metrics, calibration and results: known answers, scikit-learn's own, and the bootstrap by patient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn import metrics as sk

from hf_pneumo.data.film_cache import Films
from hf_pneumo.data.labels import AETIOLOGY, CHEXPERT, MULTILABEL, PNEUMONIA
from hf_pneumo.data.sources import load_xrays
from hf_pneumo.evaluation.classification.baselines import TRIVIAL_MODELS, frame_pixels, measure_baselines
from hf_pneumo.evaluation.classification.calibration import (
    abstain_band,
    best_cut,
    expected_calibration_error,
    fit_operating_point,
    fit_temperature,
)
from hf_pneumo.evaluation.classification.label_metrics import measure_predictions
from hf_pneumo.evaluation.classification.metrics import means, measure, measure_labels
from hf_pneumo.evaluation.predictions import Predictions
from hf_pneumo.models.config import OperatingPoint


def sample(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    generator = np.random.default_rng(seed)
    target = (generator.random(n) < 0.4).astype(float)
    probability = expit(generator.normal(2 * target - 1, 1.2))
    return probability, target, [f"p{i // 2}" for i in range(n)]


def test_measure_agrees_with_scikit_learn():
    p, y, patients = sample()
    report = measure(p, y, 0.5, patients, resamples=50)
    value = {name: found.value for name, found in report.metrics.items()}
    called = p >= 0.5
    assert value["auroc"] == pytest.approx(sk.roc_auc_score(y, p))
    assert value["auprc"] == pytest.approx(sk.average_precision_score(y, p))
    assert value["accuracy"] == pytest.approx(sk.accuracy_score(y, called))
    assert value["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y, called))
    assert value["sensitivity"] == pytest.approx(sk.recall_score(y, called))
    assert value["specificity"] == pytest.approx(sk.recall_score(y, called, pos_label=0))
    assert value["precision"] == pytest.approx(sk.precision_score(y, called))
    assert value["f1"] == pytest.approx(sk.f1_score(y, called))
    assert value["brier"] == pytest.approx(sk.brier_score_loss(y, p))
    assert [list(row) for row in report.confusion] == sk.confusion_matrix(y, called).tolist()
    assert report.errors == int((called != y).sum())
    for found in report.metrics.values():
        assert found.low <= found.value <= found.high or found is report.metrics["ece"]


def test_interval_widens_when_patients_have_many_films():
    p, y, _ = sample(200)
    alone = measure(p, y, 0.5, [str(i) for i in range(200)], resamples=300).metrics["accuracy"]
    # Each patient five times over: as many patients as before, so the interval must not shrink.
    p5, y5, ids = np.repeat(p, 5), np.repeat(y, 5), [str(i) for i in range(200) for _ in range(5)]
    together = measure(p5, y5, 0.5, ids, resamples=300).metrics["accuracy"]
    apart = measure(p5, y5, 0.5, [str(i) for i in range(1000)], resamples=300).metrics["accuracy"]
    width = {k: v.high - v.low for k, v in (("alone", alone), ("together", together), ("apart", apart))}
    assert width["together"] == pytest.approx(width["alone"], rel=0.25)
    assert width["apart"] < 0.6 * width["together"]


def test_too_few_films_give_a_note_and_no_figure():
    report = measure(np.array([0.2, 0.9, 0.8]), np.array([0.0, 1.0, np.nan]), 0.5, ["a", "b", "c"])
    assert "too few" in report.note and report.n == 2
    assert set(report.metrics.values()) == {None}
    assert means({"x": report}).metrics == {}


def test_ece_by_hand():
    p = np.array([0.05, 0.05, 0.95, 0.95])
    assert expected_calibration_error(p, np.array([0.0, 0, 1, 1])) == pytest.approx(0.05)
    assert expected_calibration_error(p, np.array([1.0, 0, 1, 1])) == pytest.approx((0.9 + 0.1) / 4)


@pytest.mark.parametrize("labels", [PNEUMONIA, AETIOLOGY, MULTILABEL])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_applied_is_found(labels, temperature):
    generator = np.random.default_rng(1)
    true = generator.normal(0, 2, (4000, len(labels.names)))
    if labels.exclusive:
        p = labels.probabilities(true)
        targets = np.array([generator.choice(len(row), p=row) for row in p])
    else:
        targets = (generator.random(true.shape) < expit(true)).astype(float)
        targets[:50, 2] = np.nan
    assert fit_temperature(true * temperature, targets, labels) == pytest.approx(temperature, rel=0.1)


def test_the_cut_lies_where_the_classes_cross():
    generator = np.random.default_rng(2)
    odds = np.concatenate([generator.normal(-2, 1, 3000), generator.normal(2, 1, 1000)])
    targets = np.repeat([0.0, 1.0], [3000, 1000])
    # Two unit normals at -2 and 2: equal densities at 0; with priors 3 to 1 where 4 x = log 3.
    assert best_cut(odds, targets, "balanced_accuracy") == pytest.approx(0, abs=0.1)
    assert best_cut(odds, targets, "accuracy") == pytest.approx(np.log(3) / 4, abs=0.1)
    assert best_cut(odds[:10], targets[:10], "accuracy") == 0
    assert best_cut(-odds, targets, "accuracy") == 0


def test_the_band_holds_one_film_in_twenty():
    odds = np.random.default_rng(3).normal(0, 3, 2000)
    low, high = abstain_band(odds, 0.7)
    assert np.mean((expit(odds) > low) & (expit(odds) < high)) == pytest.approx(0.05, abs=0.002)
    assert low < expit(0.7) < high


def test_scores_are_what_softmax_says():
    logits = np.random.default_rng(4).normal(0, 3, (20, 3))
    p = AETIOLOGY.probabilities(logits, 1.7)
    assert AETIOLOGY.scores(logits, 1.7)[:, 0] == pytest.approx(1 - p[:, 0])
    assert AETIOLOGY.score_targets(np.array([0, 1, 2])).ravel().tolist() == [0, 1, 1]
    assert MULTILABEL.score_names == CHEXPERT
    assert MULTILABEL.index("pleural effusion") == CHEXPERT.index("Pleural Effusion")


def test_verdicts():
    point = OperatingPoint(1.0, (0.6,), ((0.5, 0.7),))
    assert [point.decide(0, p) for p in (0.1, 0.55, 0.65, 0.7, 0.9)] == [
        "negative",
        "uncertain",
        "uncertain",
        "positive",
        "positive",
    ]


def test_results_come_from_the_predictions():
    p, y, patients = sample()
    frame = pd.DataFrame(
        {
            "file_name": [f"{i}.png" for i in range(len(p))],
            "patient": patients,
            "subgroup": np.where(y == 1, "bacteria", "normal"),
            "view": None,
            "label": y.astype(int),
            "probability": p,
        }
    )
    predictions = Predictions(frame, PNEUMONIA, OperatingPoint(1.0, (0.5,)))
    report = measure_predictions(predictions, {"protocol": "paper"}, resamples=20)
    assert report.protocol == "paper" and report.n == 400 and report.patients == 200
    assert report.errors == report.labels["PNEUMONIA"].errors
    assert report.subgroups["bacteria"].accuracy == pytest.approx(report.metrics["sensitivity"].value)
    assert report.subgroups["normal"].accuracy == pytest.approx(report.metrics["specificity"].value)


def test_several_labels_are_averaged_and_empty_ones_left_out():
    generator = np.random.default_rng(5)
    logits = generator.normal(0, 2, (300, 14))
    labels = (generator.random((300, 14)) < expit(logits)).astype(float)
    labels[:, 5] = 0
    point = OperatingPoint(1.0, (0.5,) * 14)
    frame = pd.DataFrame(
        {
            "file_name": [str(i) for i in range(300)],
            "patient": [str(i) for i in range(300)],
            "subgroup": None,
            "view": None,
            "label": labels.tolist(),
            "probability": expit(logits).tolist(),
        }
    )
    report = measure_predictions(Predictions(frame, MULTILABEL, point), resamples=5)
    own = [r.value("auroc") for r in report.labels.values() if not r.note]
    assert len(own) == 13 and report.metrics["auroc"].value == pytest.approx(np.mean(own))
    assert report.labels[CHEXPERT[5]].note


def test_ranking_metrics_count_ties_as_scikit_learn_does():
    generator = np.random.default_rng(8)
    for n in (12, 200):
        y = np.arange(n) % 2.0
        p = generator.integers(0, 5, n) / 5  # many films of equal probability
        found = measure(p, y, 0.5, [str(i) for i in range(n)], resamples=1).metrics
        assert found["auroc"].value == pytest.approx(sk.roc_auc_score(y, p))
        assert found["auprc"].value == pytest.approx(sk.average_precision_score(y, p))


def test_labels_are_measured_on_the_same_draws_and_at_half():
    p, y, patients = sample(120)
    probability = np.stack([p, p, p / 4], axis=1)
    target = np.stack([y, y, y], axis=1)
    target[:30, 1] = np.nan
    reports, mean = measure_labels(probability, target, (0.3, 0.3, 0.1), ("a", "b", "c"), patients, resamples=40)
    alone = measure(p, y, 0.3, patients, resamples=40)
    assert replace(reports["a"], at_half=None) == alone  # with all known, the draws are those of one score
    assert reports["b"].n == 90 and reports["b"].metrics != reports["a"].metrics
    half = reports["a"].at_half.metrics
    called = p >= 0.5
    assert half["f1"].value == pytest.approx(sk.f1_score(y, called))
    assert half["precision"].value == pytest.approx(sk.precision_score(y, called))
    assert half["sensitivity"].value == pytest.approx(sk.recall_score(y, called))
    # Nothing reaches 0.5 there: no precision, and none counted as 0 in a mean.
    assert reports["c"].at_half.metrics["precision"] is None
    for kind, weights in (("metrics", [1, 1, 1]), ("weighted", [r.positives for r in reports.values()])):
        own = [r.value("auroc") for r in reports.values()]
        found = getattr(mean, kind)["auroc"]
        assert found.value == pytest.approx(np.average(own, weights=weights))
        assert found.low < found.value < found.high


def test_uncertain_labels_are_neither_measured_nor_fitted():
    generator = np.random.default_rng(9)
    logits = generator.normal(0, 2, (300, 14))
    labels = (generator.random((300, 14)) < expit(logits)).astype(float)
    asked = generator.random((300, 14)) < 0.2
    uncertain, unknown = np.where(asked, -1.0, labels), np.where(asked, np.nan, labels)
    assert np.array_equal(MULTILABEL.score_targets(uncertain), unknown, equal_nan=True)
    first, second = (fit_operating_point(logits, found, MULTILABEL, fitted_on="x") for found in (uncertain, unknown))
    assert first == second


def test_operating_point_has_one_threshold_a_score():
    generator = np.random.default_rng(6)
    logits = generator.normal(0, 2, (200, 14))
    labels = (generator.random((200, 14)) < expit(logits)).astype(float)
    point = fit_operating_point(logits, labels, MULTILABEL, fitted_on="x/val")
    assert len(point.thresholds) == len(point.abstain) == 14 and point.fitted_on == "x/val"
    assert all(low < t < high for t, (low, high) in zip(point.thresholds, point.abstain, strict=True))


def test_controls_see_only_what_their_names_say():
    dataset = load_xrays("phantom:10")
    table = dataset.remove_columns("image")
    generator = np.random.default_rng(7)
    label = np.array(table["label"])
    gray = generator.integers(90, 110, (10, 96, 96)).astype(np.uint8)
    gray[:, 40:50, 40:50] += (label * 100).astype(np.uint8)[:, None, None]  # the answer is in the middle only
    many = np.tile(np.arange(10), 8)
    films = Films(gray, table, tuple(map(str, range(10))), ()).select(many)
    found = measure_baselines(films, films, PNEUMONIA, resamples=5).models
    assert set(found) == {"majority class", *TRIVIAL_MODELS}
    assert found["48x48 pixels"].value("accuracy") == 1
    assert found["majority class"].value("auroc") == 0.5
    edge = frame_pixels(gray)
    gray[:, 7:-7, 7:-7] = 0  # the antialiasing of a 2:1 resize reaches 3 pixels far
    assert np.array_equal(edge, frame_pixels(gray))
