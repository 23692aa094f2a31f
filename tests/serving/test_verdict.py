"""From logits to words."""

from __future__ import annotations

import numpy as np

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.config import CheckpointConfig, OperatingPoint
from hf_pneumo.serving.verdict import called, target_of

CONFIG = CheckpointConfig(
    "x", PNEUMONIA, Preprocess(), operating_point=OperatingPoint(thresholds=(0.5,), abstain=((0.4, 0.6),))
)


def test_the_word_follows_from_threshold_and_band():
    words = [called(CONFIG, np.array([score]))[1] for score in (0.1, 0.45, 0.55, 0.9)]
    assert words == ["normal", "uncertain", "uncertain", "pneumonia"]


def test_the_finding_is_explained():
    assert target_of(CONFIG, np.array([3.0, -3.0])) == "PNEUMONIA"
