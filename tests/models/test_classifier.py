"""A network with two classifiers is refused with the one that serves instead."""

from __future__ import annotations

import pytest

from hf_pneumo.models.classifier import build


def test_a_distilled_transformer_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match="has 2 classifiers .* without distillation, such as deit_tiny_patch16_224"):
        build("deit_tiny_distilled_patch16_224", 2)
