"""What a shard's rows have in common, and what is kept of an answer."""

from __future__ import annotations

from dataclasses import replace

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.config import CheckpointConfig, OperatingPoint
from hf_pneumo.serving.archive_scorer import preprocessing_digest

CONFIG = CheckpointConfig("x", PNEUMONIA, Preprocess(), operating_point=OperatingPoint())


def test_another_input_or_threshold_is_another_table():
    digests = {
        preprocessing_digest(config, boxes)
        for config in (
            CONFIG,
            replace(CONFIG, preprocess=Preprocess(size=(448, 448))),
            replace(CONFIG, operating_point=OperatingPoint(thresholds=(0.4,))),
        )
        for boxes in (False, True)
    }
    assert len(digests) == 6 and preprocessing_digest(CONFIG, False) == preprocessing_digest(replace(CONFIG), False)
