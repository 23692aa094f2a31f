"""What is said when it is not known: risk against coverage, conformal sets, duplicates, groups; known answers first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from hf_pneumo.data.labels import AETIOLOGY, MULTILABEL, PNEUMONIA
from hf_pneumo.evaluation.classification.conformal import (
    adaptive,
    compare_methods,
    conformal_quantile,
    fit_sets,
    measure_sets,
)
from hf_pneumo.evaluation.classification.duplicates import identical_to, measure_distinct
from hf_pneumo.evaluation.classification.label_metrics import measure_predictions
from hf_pneumo.evaluation.classification.operating_points import PROMISED, at_sensitivity, threshold_for
from hf_pneumo.evaluation.classification.report import ClassificationReport, full_report
from hf_pneumo.evaluation.classification.selective import (
    ErrorCount,
    RiskPoint,
    aurc,
    measure_abstaining,
    predictive_entropy,
    risk_coverage,
)
from hf_pneumo.evaluation.classification.subgroups import by_group
from hf_pneumo.evaluation.predictions import Predictions
from hf_pneumo.models.config import OperatingPoint
from hf_pneumo.models.prediction_sets import PredictionSets

POINT = OperatingPoint(1.0, (0.5,), ((0.4, 0.6),), "made-up/val")


def predicted(frame: pd.DataFrame, labels=PNEUMONIA, point=POINT) -> Predictions:
    return Predictions(frame, labels, point)


def films(n: int = 400, seed: int = 0, labels=PNEUMONIA) -> pd.DataFrame:
    """Predictions of a calibrated model: the labels are drawn from its own probabilities."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (n, len(labels.names)))
    p = labels.probabilities(logits)
    if labels.exclusive:
        label = [int(generator.choice(len(row), p=row)) for row in p]
    else:
        label = (generator.random(p.shape) < p).astype(float).tolist()
    scores = labels.scores(logits)
    return pd.DataFrame(
        {
            "file_name": [f"{i}.png" for i in range(n)],
            "patient": [f"p{i // 2}" for i in range(n)],
            "subgroup": None,
            "view": np.where(np.arange(n) % 2, "AP", "PA"),
            "label": label,
            "logits": logits.tolist(),
            "probability": scores[:, 0] if scores.shape[1] == 1 else scores.tolist(),
        }
    )


def test_risk_falls_where_the_unsure_are_wrong():
    coverage, risk = risk_coverage(np.array([4.0, 3, 2, 1]), np.array([False, False, True, True]))
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert aurc(np.array([4.0, 3, 2, 1]), np.array([False, False, True, True])) == pytest.approx((1 / 3 + 1 / 2) / 4)


def test_equally_sure_films_enter_in_random_order():
    wrong = np.array([True, False, False, False])
    for order in (wrong, wrong[::-1]):
        assert risk_coverage(np.zeros(4), order)[1] == pytest.approx([0.25] * 4)


def test_the_band_is_applied_as_it_is():
    frame = films().head(6).assign(label=[0, 0, 0, 1, 1, 1], probability=[0.1, 0.45, 0.7, 0.3, 0.55, 0.9])
    frame = pd.concat([frame] * 5)
    found = measure_abstaining(predicted(frame), resamples=5)["PNEUMONIA"]
    assert found.answered == ErrorCount(20, 10) and found.errors == 10
    assert found.metrics["coverage"].value == pytest.approx(4 / 6)
    assert found.metrics["selective_risk"].value == pytest.approx(1 / 2)
    assert found.curve[-1] == RiskPoint(1.0, pytest.approx(1 / 3))
    assert found.metrics["best_aurc"].value <= found.metrics["aurc"].value


def test_entropy_in_nats():
    assert predictive_entropy(AETIOLOGY, np.full((1, 3), 1 / 3)) == pytest.approx(np.log(3))
    assert predictive_entropy(PNEUMONIA, np.array([[1.0, 0.0]])).tolist() == [[0.0]]
    assert predictive_entropy(MULTILABEL, np.full((1, 14), 0.5)).tolist() == [[pytest.approx(np.log(2))] * 14]


@pytest.mark.parametrize(
    ("n", "coverage", "expected"), [(19, 0.95, 19), (39, 0.95, 38), (99, 0.9, 90), (18, 0.95, np.inf), (0, 0.5, np.inf)]
)
def test_the_finite_sample_quantile(n, coverage, expected):
    assert conformal_quantile(np.arange(1, n + 1)[::-1], coverage) == expected


def test_ties_only_raise_the_coverage():
    assert conformal_quantile(np.array([0.0] * 9 + [1.0] * 10), 0.5) == 1.0


def test_adaptive_scores_by_hand():
    p = np.array([[0.2, 0.5, 0.3]])
    assert adaptive(p, np.ones(1)) == pytest.approx(np.array([[1.0, 0.5, 0.8]]))
    assert adaptive(p, np.zeros(1)) == pytest.approx(np.array([[0.8, 0.0, 0.5]]))


@pytest.mark.parametrize("labels", [PNEUMONIA, AETIOLOGY])
def test_each_label_is_covered_as_promised(labels):
    val, test = films(3000, 1, labels), films(3000, 2, labels)
    sets = fit_sets(np.stack(val["logits"]), val["label"].to_numpy(), labels, 1.0, coverage=0.9, fitted_on="x/val")
    point = replace(POINT, sets=sets)
    found = measure_sets(predicted(test, labels, point), resamples=20).questions[labels.finding]
    for own in found.answers.values():
        assert own.covered.value == pytest.approx(0.9, abs=0.03)
    methods = compare_methods(predicted(val, labels), predicted(test, labels), 0.9)
    assert set(methods) == {"LAC", "LAC, by class", "APS", "APS, by class"}
    for own in methods.values():
        assert own.covered == pytest.approx(0.9, abs=0.03)
    assert methods["LAC"].size < methods["APS"].size  # least ambiguous


def test_a_label_with_too_few_films_is_always_in_the_set():
    val = films(200, 3)
    label = np.where(np.arange(200) < 5, 1, 0)
    sets = fit_sets(np.stack(val["logits"]), label, PNEUMONIA, 1.0, coverage=0.95, fitted_on="x/val")
    assert sets.quantiles[0][1] == 1.0
    assert all("PNEUMONIA" in sets.of_film(PNEUMONIA, p)["PNEUMONIA"] for p in np.array([[1.0, 0.0], [0.3, 0.7]]))


def test_an_empty_set_is_returned_whole():
    sets = PredictionSets(0.9, ((0.1, 0.1),), "x/val")
    assert sets.of_film(PNEUMONIA, np.array([0.5, 0.5])) == {"PNEUMONIA": ("NORMAL", "PNEUMONIA")}
    assert sets.of_film(PNEUMONIA, np.array([0.95, 0.05])) == {"PNEUMONIA": ("NORMAL",)}
    assert PredictionSets.from_dict(sets.to_dict()) == sets


def test_several_labels_have_a_set_each_and_unknown_ones_do_not_count():
    val = films(300, 4, MULTILABEL)
    targets = np.array(val["label"].to_list())
    targets[:100, 0], targets[:50, 1] = np.nan, -1
    sets = fit_sets(np.stack(val["logits"]), targets, MULTILABEL, 1.0, coverage=0.9, fitted_on="x/val")
    point = OperatingPoint(1.0, (0.5,) * 14, sets=sets)
    found = measure_sets(predicted(val.assign(label=targets.tolist()), MULTILABEL, point), resamples=5).questions
    assert len(found) == 14 and found[MULTILABEL.names[0]].n == 200 and found[MULTILABEL.names[1]].n == 250
    with pytest.raises(ValueError, match="coverage"):
        fit_sets(np.stack(val["logits"]), targets, MULTILABEL, 1.0, coverage=1.0, fitted_on="x/val")


def test_duplicates_count_once_and_learnt_films_not_at_all():
    frame = films(100).assign(digest=[str(i // 2) if i < 20 else str(i) for i in range(100)])
    frame["identical_to"] = ["train" if i in (50, 51, 1) else None for i in range(100)]
    report = measure_predictions(predicted(frame), resamples=5)
    found = measure_distinct(predicted(frame), report, resamples=5)
    assert (found.removed.repeated, found.removed.seen) == (9, 3) and found.n == 88
    kept = [i for i in range(100) if not (i < 20 and i % 2) and i not in (50, 51)]
    wrong = (frame["probability"] >= 0.5) != (frame["label"] == 1)
    assert found.errors == int(wrong.iloc[kept].sum())
    parts = {"train": np.array([0, 1]), "val": np.array([2]), "test": np.array([3, 4, 5])}
    assert identical_to(["a", "b", "c", "b", "c", "d"], parts, "test") == ["train", "val", None]


def test_groups_have_their_own_figures():
    frame = films(200).assign(age=[5 if i < 60 else None if i < 80 else 70 for i in range(200)])
    found = by_group(predicted(frame), resamples=5)
    assert set(found) == {"view", "age"}
    assert {k: v.n for k, v in found["age"].items()} == {"under 18": 60, "60 and over": 120}
    rows = frame[frame["view"] == "AP"]
    assert found["view"]["AP"].errors == int(((rows["probability"] >= 0.5) != (rows["label"] == 1)).sum())


def test_the_full_report_follows_from_the_columns():
    frame = films(120)
    plain = full_report(predicted(frame), resamples=5)
    assert not any((plain.conformal, plain.distinct, plain.groups, plain.suspect, plain.at_sensitivity))
    point = replace(POINT, sets=PredictionSets(0.9, ((0.5, 0.5),), "x/val"))
    full = frame.assign(digest=frame["file_name"], suspicion=np.where(np.arange(120) < 30, 1.0, -1.0))
    predictions, val = predicted(full, point=point), predicted(frame, point=point)
    report = full_report(predictions, {"protocol": "external"}, val=val, resamples=5)
    assert (report.suspect.n, report.suspect.share) == (30, 0.25)
    assert report.distinct.metrics == report.metrics
    assert report.conformal.methods and report.conformal.questions and "view" in report.groups
    assert logit(POINT.thresholds[0]) == 0
    assert ClassificationReport.from_json(report.to_json()) == report


def test_a_threshold_misses_no_more_than_its_share():
    p = np.linspace(0.05, 1, 20)  # each 0.05 higher than the one before
    assert threshold_for(p, 0.95) == pytest.approx(0.1) and threshold_for(p, 0.96) == pytest.approx(0.05)
    assert threshold_for(p[::-1], 0.9) == pytest.approx(0.15)
    for share in PROMISED:
        assert (p >= threshold_for(p, share)).mean() >= share


def test_other_thresholds_are_vals_and_are_measured_on_the_films():
    val, test = films(2000, seed=1), films(2000, seed=2)
    (found,) = at_sensitivity(predicted(val), predicted(test), resamples=20).values()
    assert list(found) == [str(share) for share in PROMISED]
    ill = np.array(val["label"]) == 1
    for share, own in found.items():
        assert (val["probability"][ill] >= own.threshold).mean() == pytest.approx(float(share), abs=2 / ill.sum())
        assert own.value("sensitivity") == pytest.approx(float(share), abs=0.02)  # both are calibrated
        called = test["probability"] >= own.threshold
        assert own.errors == int((called != test["label"]).sum())
    specificities = [own.value("specificity") for own in found.values()]
    assert specificities == sorted(specificities)
    shifted = test.assign(label=1 - test["label"])  # the films' labels change figures and no threshold
    (other,) = at_sensitivity(predicted(val), predicted(shifted), resamples=20).values()
    assert [own.threshold for own in other.values()] == [own.threshold for own in found.values()]


def test_too_few_val_films_promise_nothing_and_labels_have_their_own():
    few = films(40, seed=3)
    ill = int((few["label"] == 1).sum())
    (found,) = at_sensitivity(predicted(few), predicted(films(100)), resamples=20).values()
    assert list(found) == [str(share) for share in PROMISED if (1 - share) * ill >= 1]
    point = OperatingPoint(1.0, (0.5,) * 14)
    val, test = (predicted(films(300, seed, MULTILABEL), MULTILABEL, point) for seed in (4, 5))
    several = at_sensitivity(val, test, resamples=20)
    assert list(several) == list(MULTILABEL.score_names)
    assert len({own["0.9"].threshold for own in several.values()}) > 1
    assert full_report(predicted(films(50)), val=predicted(films(50, 1)), resamples=20).at_sensitivity is not None
