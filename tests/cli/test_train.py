"""Training is the run of its settings."""

from __future__ import annotations

from hf_pneumo.cli import train
from hf_pneumo.training.config import TrainConfig


def test_its_options_are_the_settings(monkeypatch):
    assert train.Arguments is TrainConfig
