"""Every finding that a checkpoint calls on one film, each with its own map, and one figure of them all."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hf_pneumo.imaging.xray import Xray
from hf_pneumo.serving.export import film_image, overlay_image
from hf_pneumo.serving.outcome import Finding, NotJudged
from hf_pneumo.serving.predictor import Predictor

COLUMNS, SIDE = 4, 3.0  # panels in a row, and a panel's side in inches


def findings_above(
    predictor: Predictor, film: Xray, *, method: str = "gradcam", judge_anyway: bool | None = None, **options: Any
) -> list[Finding]:
    """The film's finding for each score from its threshold on, likeliest first, each explained for itself.

    The label that stands for nothing found is none, and a film that is not judged has none. ``options`` as in
    `Predictor.judge`, but for the target.
    """
    labels = predictor.checkpoint.config.labels
    (plain,) = predictor.judge([film], method=None, judge_anyway=judge_anyway)
    if isinstance(plain, NotJudged):
        return []
    called = [n for n, threshold in plain.thresholds.items() if plain.scores[n] >= threshold and n != labels.normal]
    called.sort(key=lambda name: -plain.scores[name])
    if not called:
        return []
    targets = [name if name in labels.names else predictor.target for name in called]
    same = [film] * len(called)
    outcomes = predictor.judge(same, method=method, target=targets, judge_anyway=judge_anyway, **options)
    return [outcome for outcome in outcomes if isinstance(outcome, Finding)]  # as the same film's first one


def findings_figure(finding: Finding, above: list[Finding]) -> Figure:
    """The film, and beside it the overlay of each finding of :func:`findings_above` with its probability."""
    panels = [("film" if above else "film: nothing above its threshold", film_image(finding))]
    for one in above:
        target = one.map.target
        name = target if target in one.scores else next(iter(one.scores))
        doubt = ", uncertain" if one.verdicts[name] == "uncertain" else ""
        title = f"{target} {one.scores[name]:.2f} (from {one.thresholds[name]:.2f}{doubt})"
        panels.append((title, overlay_image(one)))
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(SIDE * columns, 1.08 * SIDE * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for axis, (title, image) in zip(axes, panels, strict=False):  # the last row may not be full
        axis.imshow(np.asarray(image))
        axis.set_title(title, fontsize=8)
    for axis in figure.axes:
        axis.set_axis_off()
    return figure
