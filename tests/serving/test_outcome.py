"""What becomes of a film."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.serving.outcome import NORMAL, Finding

FINDING = Finding(
    film=make_phantom(1, size=64).film,
    probabilities={"A": 0.7, "B": 0.2},
    scores={"A": 0.7, "B": 0.2},
    thresholds={"A": 0.5, "B": 0.5},
    abstain={"A": (0.5, 0.5), "B": (0.5, 0.5)},
    verdicts={"A": "positive", "B": "negative"},
    verdict="a",
    leading="A",
    explanation=None,
    boxes=(),
    notes=(),
    model="m",
    revision=None,
)


def test_the_leading_finding_has_the_probability():
    assert FINDING.probability == 0.7 and FINDING.status == "judged" and FINDING.reason == ""


def test_boxes_are_for_labels_that_may_be_there():
    assert FINDING.is_called("A") and FINDING.is_called("A - B") and not FINDING.is_called("B")
    assert not replace(FINDING, verdict=NORMAL).is_called("A")


def test_a_film_without_an_explanation_has_no_map():
    with pytest.raises(ValueError, match="judged without an explanation"):
        FINDING.map  # noqa: B018
