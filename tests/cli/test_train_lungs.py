"""Training the segmenter is the run of its settings."""

from __future__ import annotations

from hf_pneumo.cli import train_lungs
from hf_pneumo.segmentation.run import SegmenterConfig


def test_its_options_are_the_settings():
    assert train_lungs.Arguments is SegmenterConfig
