"""What programs are answered by the Space's endpoint: plain JSON, its fields named and typed."""

from __future__ import annotations

import json
from typing import Any, TypedDict

from hf_pneumo.models.checkpoint import Checkpoint
from hf_pneumo.serving.export import manifest
from hf_pneumo.serving.outcome import Finding, Outcome


class Answer(TypedDict):
    """What became of a film, as JSON. Probabilities are calibrated, in [0, 1]; names are the checkpoint's label set's.

    ``status``: "judged" or "not judged"; then ``reason`` says why, in a sentence, and nothing else is told of the film.
    ``verdict``: "normal", "uncertain", "none positive" where some labels have no verdict, or the positive findings in
    lower case, separated by commas. ``finding``: the one that stands first, never the label that stands for nothing
    found, and ``probability``: its own. ``scores`` and ``verdicts`` ("positive", "negative", "uncertain" or "not
    judged"): by score. ``sets``: by score every answer that the film may have at ``coverage``; empty and None where
    none were fitted. ``suspect``: what makes the picture unlike the training films, which makes the verdict uncertain;
    None where nothing does. ``judged_anyway``: why it would not have been judged unless asked to; else None.
    ``boxes``: [x, y, width, height, heat] in pixels of the film, around the evidence for the label in
    manifest.explanation.target.
    """

    status: str
    reason: str
    verdict: str | None
    finding: str | None
    probability: float | None
    scores: dict[str, float]
    verdicts: dict[str, str]
    sets: dict[str, list[str]]
    coverage: float | None
    suspect: str | None
    judged_anyway: str | None
    boxes: list[tuple[int, int, int, int, float]]
    notes: list[str]
    manifest: dict[str, Any]


def answer(outcome: Outcome, checkpoint: Checkpoint) -> Answer:
    """The answer to one film; it names no file."""
    told = manifest(outcome, checkpoint)
    said = Answer(
        status=outcome.status,
        reason=outcome.reason,
        verdict=None,
        finding=None,
        probability=None,
        scores={},
        verdicts={},
        sets={},
        coverage=None,
        suspect=None,
        judged_anyway=None,
        boxes=[],
        notes=list(outcome.notes),
        manifest=told,
    )
    if isinstance(outcome, Finding):
        said |= {
            "verdict": outcome.verdict,
            "finding": outcome.leading,
            "probability": outcome.probability,
            "scores": outcome.scores,
            "verdicts": outcome.verdicts,
            "sets": {name: list(own) for name, own in outcome.sets.items()},
            "coverage": outcome.coverage,
            "suspect": outcome.suspect,
            "judged_anyway": outcome.overridden.sentence if outcome.overridden else None,
            "boxes": told["explanation"]["boxes"],
        }
    return json.loads(json.dumps(said))
