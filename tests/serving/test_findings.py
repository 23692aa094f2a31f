"""One figure of every finding."""

from __future__ import annotations

from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.serving.findings import findings_figure
from hf_pneumo.serving.outcome import NORMAL, Finding


def test_without_findings_the_film_stands_alone():
    finding = Finding(
        film=make_phantom(1, size=64).film, probabilities={"A": 0.1}, scores={"A": 0.1}, thresholds={"A": 0.5},
        abstain={"A": (0.5, 0.5)}, verdicts={"A": "negative"}, verdict=NORMAL, leading="A", explanation=None, boxes=(),
        notes=(), model="m", revision=None,
    )  # fmt: skip
    (axis,) = findings_figure(finding, []).axes
    assert axis.get_title() == "film: nothing above its threshold"
