"""What programs are answered by the Space's endpoint: plain JSON, its fields named and typed."""

from __future__ import annotations

import json
from typing import Any, TypedDict

from hf_pneumo.models.checkpoint import Checkpoint
from hf_pneumo.serving.export import manifest
from hf_pneumo.serving.predictor import Finding


class Answer(TypedDict):
    """A finding as JSON. Probabilities are calibrated, in [0, 1]; names are those of the checkpoint's label set.

    ``verdict``: "normal", "uncertain", or the positive findings in lower case, separated by commas. ``finding``: the
    one that stands first, never the label that stands for nothing found, and ``probability``: its own. ``scores`` and
    ``verdicts`` ("positive", "negative" or "uncertain"): by score. ``sets``: by score every answer that the film may
    have at ``coverage``; empty and None where none were fitted. ``suspect``: what makes the picture unlike the training
    films, which makes the verdict uncertain; None where nothing does. ``boxes``: [x, y, width, height, heat] in pixels
    of the film, around the evidence for the label in manifest.explanation.target.
    """

    verdict: str
    finding: str
    probability: float
    scores: dict[str, float]
    verdicts: dict[str, str]
    sets: dict[str, list[str]]
    coverage: float | None
    suspect: str | None
    boxes: list[tuple[int, int, int, int, float]]
    notes: list[str]
    manifest: dict[str, Any]


def answer(finding: Finding, checkpoint: Checkpoint) -> Answer:
    """The answer to one film that was explained; it names no file."""
    told = manifest(finding, checkpoint)
    found = Answer(
        verdict=finding.verdict,
        finding=finding.leading,
        probability=finding.probability,
        scores=finding.scores,
        verdicts=finding.verdicts,
        sets={name: list(own) for name, own in finding.sets.items()},
        coverage=finding.coverage,
        suspect=finding.suspect,
        boxes=told["explanation"]["boxes"],
        notes=list(finding.notes),
        manifest=told,
    )
    return json.loads(json.dumps(found))
