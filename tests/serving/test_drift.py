"""Drift: none between films of one distribution, known distances between others, memory of no consequence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.config import CheckpointConfig, OperatingPoint
from hf_pneumo.models.folder import CheckpointFolder
from hf_pneumo.serving.drift import NOTABLE, drift_of, sentence
from hf_pneumo.serving.shards import Key, Row, Shards

KEY = Key("m", "", "p", PNEUMONIA.names)


def checkpoint(folder: Path, probabilities: np.ndarray) -> CheckpointFolder:
    """A checkpoint whose validation films have these probabilities of a pneumonia."""
    odds = np.log(probabilities / (1 - probabilities))
    (folder / "predictions").mkdir(parents=True)
    logits = pa.array([[0.0, float(value)] for value in odds])
    pq.write_table(pa.table({"logits": logits}), folder / "predictions" / "official-val.parquet")
    config = CheckpointConfig("x", PNEUMONIA, Preprocess(), operating_point=OperatingPoint(fitted_on="official/val"))
    return CheckpointFolder(config, "x", None, folder)


def shards(folder: Path, probabilities: np.ndarray) -> list[Path]:
    with Shards(folder, KEY, rows=100) as archive:
        for number, value in enumerate(probabilities):
            archive.add(Row(f"{number}.png", "d", "judged", "", "normal", (1 - value, float(value))))
        archive.add(Row("broken", "", "error", "cannot be read"))
    return sorted(folder.glob("shard-*"))


def test_the_same_films_have_no_drift(tmp_path):
    values = np.random.default_rng(0).beta(2, 3, 500)
    of_normal, of_finding = drift_of(shards(tmp_path / "s", values), checkpoint(tmp_path / "c", values))
    assert (of_finding.label, of_finding.films, of_finding.validation) == ("PNEUMONIA", 500, 500)
    assert of_finding.distance == pytest.approx(0, abs=5e-3) and of_finding.stability == pytest.approx(0, abs=0.01)
    assert of_normal.distance == pytest.approx(of_finding.distance, abs=5e-3)
    assert "unlike" not in sentence(of_finding)


def test_other_films_lie_as_far_away_as_they_do(tmp_path):
    values = np.linspace(0.001, 0.999, 1000)  # even: the share above .5 moves from a half to all
    found = drift_of(shards(tmp_path / "s", 0.5 + values / 2), checkpoint(tmp_path / "c", values))[1]
    assert found.distance == pytest.approx(0.5, abs=0.01) and found.stability > NOTABLE
    assert "unlike those" in sentence(found)


def test_without_films_or_validation_nothing_is_said(tmp_path):
    values = np.array([0.2, 0.7])
    assert drift_of([], checkpoint(tmp_path / "c", values)) == ()
    (tmp_path / "c" / "predictions" / "official-val.parquet").unlink()
    config = CheckpointConfig("x", PNEUMONIA, Preprocess(), operating_point=OperatingPoint(fitted_on="official/val"))
    assert drift_of(shards(tmp_path / "s", values), CheckpointFolder(config, "x", None, tmp_path / "c")) == ()
