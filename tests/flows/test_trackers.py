"""A run can be watched by a tracker, and says so in one sentence where its package is missing."""

from __future__ import annotations

import importlib.util

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hf_pneumo.training import run
from hf_pneumo.training.config import TrainConfig


def tiny(folder, **settings) -> TrainConfig:
    return TrainConfig(
        dataset="phantom:20",
        output=str(folder / "run"),
        cache=str(folder / "films"),
        model="test_resnet",
        size=48,
        epochs=2,
        batch_size=4,
        augment="none",
        **settings,
    )


def test_tensorboard_gets_the_losses_of_the_log(tmp_path):
    folder = run.train(tiny(tmp_path, report_to="tensorboard"))
    rows = list(run.read_log(folder))
    events = EventAccumulator(str(next(folder.rglob("events.out.tfevents.*")).parent)).Reload()
    logged = [e.value for e in events.Scalars("loss")]
    assert logged == pytest.approx([r["loss"] for r in rows if "loss" in r])
    assert [e.value for e in events.Scalars("val_auroc")] == pytest.approx(
        [r["val_auroc"] for r in rows if "val_auroc" in r]
    )


def test_a_missing_tracker_is_named_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "find_spec", lambda name: None if name == "trackio" else importlib.util.find_spec(name))
    with pytest.raises(ValueError, match="pip install trackio"):
        run.train(tiny(tmp_path, report_to="trackio"))
    assert not (tmp_path / "run").exists()
