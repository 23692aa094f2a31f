"""What a result's record says."""

from __future__ import annotations

from hf_pneumo.serving.admission import Refusal
from hf_pneumo.serving.export import refusal_record


def test_nothing_against_a_picture_is_nothing():
    assert refusal_record(None) is None
    assert refusal_record(Refusal("inverted", "The film is inverted.")) == {
        "reason": "inverted", "sentence": "The film is inverted.",
    }  # fmt: skip
