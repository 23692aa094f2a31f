"""What became of a film as DICOM objects beside it in its study."""

from __future__ import annotations

import os

import numpy as np

from hf_pneumo.serving.dicom_export import Filed, write_dicom_refusal, write_dicom_result
from hf_pneumo.serving.export import overlay_image
from hf_pneumo.serving.outcome import NotJudged, Outcome


def write_outcome(
    source: str | os.PathLike[str], outcome: Outcome, out_dir: str | os.PathLike[str], *, name: str | None = None
) -> Filed:
    """Write heatmap and report of a finding, or the report on a film that was not judged.

    ``source``: the film's DICOM file. ``name``: what the files' names begin with, by default the film's. A finding
    without a map gives its report over the plain film. Raises as `dicom_export.write_dicom_result`.
    """
    if isinstance(outcome, NotJudged):
        return write_dicom_refusal(
            source,
            out_dir,
            reason=outcome.refusal.reason,
            sentence=outcome.refusal.sentence,
            model=outcome.model,
            revision=outcome.revision,
            name=name,
        )
    explanation = outcome.explanation
    explained = explanation.target if explanation and explanation.target in outcome.scores else None
    return write_dicom_result(
        source,
        np.asarray(overlay_image(outcome)),
        out_dir,
        probabilities=outcome.scores,
        verdicts=outcome.verdicts,
        boxes=[(b.x, b.y, b.w, b.h, b.score) for b in outcome.boxes] if explained else [],
        box_finding=explained,
        method=explanation.method if explanation else None,
        model=outcome.model,
        revision=outcome.revision,
        name=name,
    )
