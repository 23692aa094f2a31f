"""The finding told from each other label by itself, in each view, and beside the rule that only looks at the view.

Ill patients are filmed in bed (AP), healthy ones stand (PA): a model can be right on most films of adults without
having seen a lung. What it is worth is what it tells apart within a view, and above that rule.
"""

from __future__ import annotations

import numpy as np

from hf_pneumo.evaluation.bootstrap import RESAMPLES
from hf_pneumo.evaluation.classification.metrics import HALF, METRICS, LabelReport, measure
from hf_pneumo.evaluation.predictions import Predictions

VIEWS = ("AP", "PA")
IN_BED = "AP"
ALL, OTHERS, VIEW_RULE = "all", "all others", "view rule"
CONTRAST_METRICS = {
    name: METRICS[name] for name in ("auroc", "auprc", "balanced_accuracy", "sensitivity", "specificity", "ece")
}


def measure_contrasts(
    predictions: Predictions, *, resamples: int = RESAMPLES
) -> dict[str, dict[str, LabelReport]] | None:
    """{other label: {group: figures}} where labels lie between normal and the finding, else None.

    Of the films that have the finding or the other label: "all" of them, each view that is known, and "view rule": the
    same films called by the view alone. The last other label, "all others", is all of them together. Figures stand at
    the operating point's threshold.
    """
    labels = predictions.labels
    if not labels.between or labels.normal is None:
        return None
    truth, views = predictions.label, predictions.frame["view"].to_numpy()
    target = labels.positive[truth].astype(float)

    def figures(rows: np.ndarray, scores: np.ndarray, cut: float) -> LabelReport:
        return measure(
            scores[rows],
            target[rows],
            cut,
            predictions.patients[rows],
            resamples=resamples,
            metrics=CONTRAST_METRICS,
        )

    reports = {}
    for name in (labels.normal, *labels.between, OTHERS):
        rows = (target == 1) | (truth == labels.names.index(name) if name != OTHERS else True)
        groups = {ALL: rows} | {view: rows & (views == view) for view in VIEWS if (rows & (views == view)).any()}
        threshold = predictions.point.thresholds[0]
        reports[name] = {group: figures(own, predictions.scores[:, 0], threshold) for group, own in groups.items()}
        if all(view in groups for view in VIEWS):
            reports[name][VIEW_RULE] = figures(rows, (views == IN_BED).astype(float), HALF)
    return reports
