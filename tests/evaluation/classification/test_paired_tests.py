"""Paired comparison: tests with known answers, brute force beside the fast ways, and words that follow from them."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from hf_pneumo.cli.main import run_command
from hf_pneumo.data.labels import MULTILABEL, PNEUMONIA
from hf_pneumo.evaluation.classification.label_metrics import measure_predictions
from hf_pneumo.evaluation.classification.paired_tests import (
    DeLongTest,
    McNemarTest,
    Scored,
    compare,
    delong,
    delong_test,
    holm,
    mcnemar_exact,
    read_scored,
)
from hf_pneumo.evaluation.estimate import Estimate
from hf_pneumo.evaluation.predictions import Predictions
from hf_pneumo.models.config import OperatingPoint
from hf_pneumo.reporting.tables import comparison_text


def test_mcnemar_by_hand():
    right_a = np.array([True] * 10 + [False] * 2 + [True] * 30)
    right_b = np.array([False] * 10 + [True] * 2 + [True] * 30)
    found = mcnemar_exact(right_a, right_b)
    # Of 12 fair coins, at most 2 or at least 10 on one side: 2 * (1 + 12 + 66) / 4096.
    assert found == McNemarTest(10, 2, pytest.approx(2 * 79 / 4096))
    assert mcnemar_exact(right_a, right_a).p == 1


def brute_force(scores: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong et al. 1988 as written: every positive against every negative."""
    kernel = [
        np.where((d := s[y == 1][:, None] - s[y == 0][None]) > 0, 1.0, np.where(d == 0, 0.5, 0.0)) for s in scores
    ]
    v10, v01 = np.stack([k.mean(1) for k in kernel]), np.stack([k.mean(0) for k in kernel])
    return v10.mean(1), np.cov(v10) / v10.shape[1] + np.cov(v01) / v01.shape[1]


def test_fast_delong_is_the_brute_force_one_with_ties():
    generator = np.random.default_rng(0)
    y = (generator.random(120) < 0.3).astype(float)
    scores = np.round(generator.normal(y * np.array([[1.0], [0.6], [0.0]]), 1.0), 1)  # rounding makes ties
    aurocs, covariance = delong(scores, y)
    slow_aurocs, slow_covariance = brute_force(scores, y)
    np.testing.assert_allclose(aurocs, slow_aurocs, atol=1e-12)
    np.testing.assert_allclose(covariance, slow_covariance, atol=1e-12)
    np.testing.assert_allclose(aurocs, [roc_auc_score(y, s) for s in scores], atol=1e-12)


def test_delong_keeps_its_level_and_finds_a_difference():
    generator = np.random.default_rng(1)
    y = np.repeat([0.0, 1.0], [150, 100])
    p = []
    for _ in range(300):  # two scores of equal worth with common noise: nothing to find
        common = generator.normal(y, 1.0)
        aurocs, covariance = delong(common + generator.normal(0, 1, (2, 250)), y)
        p.append(delong_test(aurocs[0] - aurocs[1], covariance[[0, 0, 1], [0, 1, 1]]).p)
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.035)
    better = np.stack([generator.normal(2.5 * y, 1.0), generator.normal(0.5 * y, 1.0)])
    aurocs, covariance = delong(better, y)
    assert delong_test(aurocs[0] - aurocs[1], covariance[[0, 0, 1], [0, 1, 1]]).p < 1e-6
    assert delong_test(0.0, np.zeros(3)) == DeLongTest(0.0, 0.0, 1.0)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def scored(name: str, strength: float, seed: int, n: int = 400) -> Scored:
    y = (np.random.default_rng(99).random(n) < 0.5).astype(float)
    score = expit(np.random.default_rng(seed).normal((2 * y - 1) * strength, 1.0))[:, None]
    files, patients = tuple(f"{i:04d}.png" for i in range(n)), tuple(f"p{i // 2}" for i in range(n))
    return Scored(name, "pneumonia", ("PNEUMONIA",), files, patients, score, score >= 0.5, y[:, None])


def test_words_tell_noise_from_a_difference():
    report = compare([scored("poor", 0.3, 1), scored("good", 1.5, 2), scored("fine", 1.5, 3)], resamples=200)
    found = report.labels["PNEUMONIA"]
    words = {(pair.a, pair.b): pair.words for pair in found.pairs}
    assert words["poor", "good"].count("good is better") == 3 and "AUROC: within noise" in words["good", "fine"]
    assert found.ranking.endswith("> poor") and "~" in found.ranking
    assert found.models["good"].errors < found.models["poor"].errors
    for pair in found.pairs:
        assert pair.delong.p_holm >= pair.delong.p and pair.mcnemar.p_holm >= pair.mcnemar.p
        assert pair.difference["auroc"].value == pytest.approx(pair.delong.difference)
    text = comparison_text(report)
    assert text.count("| poor |") == 2 and "within noise" in text


def test_a_model_does_not_differ_from_itself():
    report = compare([scored("x", 1.0, 1), scored("x", 1.0, 1)], resamples=50)
    (pair,) = report.labels["PNEUMONIA"].pairs
    assert (pair.a, pair.b) == ("x (1)", "x (2)") and pair.mcnemar.p == pair.delong.p == 1
    assert pair.difference["accuracy"] == Estimate(0.0, 0.0, 0.0)


def test_different_films_are_refused_in_one_sentence():
    run = scored("a", 1.0, 1)
    with pytest.raises(ValueError, match="not of the same films with the same labels"):
        compare([run, replace(run, name="b", files=("x.png", *run.files[1:]))])
    with pytest.raises(ValueError, match="same films with the same labels"):
        compare([run, replace(run, name="b", targets=1 - run.targets)])
    with pytest.raises(ValueError, match="at least 2"):
        compare([run])


def write(folder, labels, logits, targets, order) -> None:
    n = len(targets)
    table = Dataset.from_dict(
        {
            "file_name": [f"{i:03d}.png" for i in order],
            "patient": [f"p{i // 2}" for i in order],
            "subgroup": [None] * n,
            "view": [None] * n,
            "label": targets[order].tolist(),
        }
    )
    point = OperatingPoint(1.0, (0.5,) * len(labels.score_names))
    predictions = Predictions.of(table, logits[order], labels, point)
    predictions.write(folder / "predictions/official-test.parquet")
    report = measure_predictions(predictions, {"model": folder.name}, resamples=5)
    report.write(folder / "results/official-test.json")


def test_files_in_any_order_are_compared_label_by_label(tmp_path):
    generator = np.random.default_rng(3)
    truth = generator.normal(0, 2, (120, 14))
    targets = (generator.random((120, 14)) < expit(truth)).astype(np.float32)
    targets[:, 4] = 0.0
    targets[:30, 7] = np.nan
    write(tmp_path / "a", MULTILABEL, truth, targets, np.arange(120))
    write(tmp_path / "b", MULTILABEL, truth + generator.normal(0, 3, truth.shape), targets, generator.permutation(120))
    runs = [
        read_scored(tmp_path / "a/results/official-test.json"),
        read_scored(tmp_path / "b/predictions/official-test.parquet"),
    ]
    report = compare(runs, resamples=100)
    assert report.models == ("a", "b") and set(report.labels) == set(MULTILABEL.names)
    assert report.labels[MULTILABEL.names[4]].note
    assert report.labels[MULTILABEL.names[7]].n == 90
    values = [f.pairs[0].difference["auroc"].value for f in report.labels.values() if f.pairs]
    assert np.mean(values) > 0.05


def test_the_command_writes_both_files_and_tells_what_is_missing(tmp_path, monkeypatch, capsys):
    y = np.arange(40) % 2
    odds = np.random.default_rng(4).normal(2.0 * (2 * y - 1), 2)
    for name, noise in (("a", 0.0), ("b", 1.0)):
        z = odds + noise * np.random.default_rng(5).normal(0, 2, 40)
        write(tmp_path / name, PNEUMONIA, np.stack([-z, z], 1), y, np.arange(40))

    def call(*words: object) -> int:
        monkeypatch.setattr(sys, "argv", ["compare.py", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            run_command("compare", sys.argv[1:])
        return ended.value.code

    paths = [tmp_path / name / "results/official-test.json" for name in "ab"]
    assert call(*paths, "--output", tmp_path / "out", "--resamples", 50) == 0
    assert (tmp_path / "out/comparison.json").is_file() and "| a | b |" in (tmp_path / "out/comparison.md").read_text()
    (tmp_path / "b/predictions/official-test.parquet").unlink()
    assert call(*paths) == 1
    assert "lacks" in capsys.readouterr().err
    frame = pd.read_parquet(tmp_path / "a/predictions/official-test.parquet")
    frame.iloc[:10].to_parquet(tmp_path / "b/predictions/official-test.parquet")
    assert call(*paths) == 2 and "predictions are of 10" in capsys.readouterr().err
