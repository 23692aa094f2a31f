"""Split conformal prediction: quantiles fitted on validation films, coverage and size of the sets checked on test.

Angelopoulos & Bates 2021 (arXiv 2107.07511). The promise holds for films exchangeable with the validation films; how
far another batch or another hospital breaks it is what the check is for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.evaluation.classification.metrics import RESAMPLES
from hf_pneumo.evaluation.explanations.localization import interval, patient_weights
from hf_pneumo.models.checkpoint import OperatingPoint
from hf_pneumo.models.prediction_sets import PredictionSets, choices, true_answers

COVERAGE = 0.95
ROUNDING = 1e-9  # 0.95 * 20 is not 19 in binary


def conformal_quantile(scores: np.ndarray, coverage: float) -> float:
    """The ceil((n + 1) coverage)-th smallest of n ``scores``; infinite where n is too small to promise that much.

    A new score is at most this with probability ``coverage`` at least, whatever its distribution; ties only help.
    """
    rank = math.ceil((len(scores) + 1) * coverage - ROUNDING)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else math.inf


def least_ambiguous(probabilities: np.ndarray) -> np.ndarray:
    """LAC (Sadinle et al. 2019, arXiv 1609.00451): how badly each answer fits, 1 - p, (N, C) in [0, 1]."""
    return 1 - probabilities


def adaptive(probabilities: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """APS (Romano et al. 2020, arXiv 2006.02544): the mass of all likelier answers and a random share of its own.

    ``probabilities`` (N, C), ``uniform`` (N,) in [0, 1]; without the random share two-answer sets would be all or one.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1)
    above = np.cumsum(ranked, axis=1) - ranked
    scores = np.empty_like(probabilities)
    np.put_along_axis(scores, order, above + uniform[:, None] * ranked, axis=1)
    return scores


def fit_quantiles(scores: np.ndarray, truth: np.ndarray, coverage: float, *, by_class: bool) -> np.ndarray:
    """One quantile per answer (C,) from ``scores`` (N, C) of validation films; ``truth`` (N,) is -1 where not known.

    ``by_class``: from the films of that answer alone, so that each keeps the coverage. 1 (the largest score there is)
    where there are too few of them to leave any film out.
    """
    known = truth >= 0
    own = scores[known, truth[known]]
    if not by_class:
        return np.full(scores.shape[1], min(conformal_quantile(own, coverage), 1.0))
    return np.array([min(conformal_quantile(own[truth[known] == c], coverage), 1.0) for c in range(scores.shape[1])])


def fit_sets(
    logits: np.ndarray,
    targets: np.ndarray,
    label_set: LabelSet,
    temperature: float,
    *,
    coverage: float = COVERAGE,
    fitted_on: str,
) -> PredictionSets:
    """Class-conditional least ambiguous sets from validation ``logits`` (N, K) and labels; ValueError for a coverage
    outside (0, 1)."""
    if not 0 < coverage < 1:
        raise ValueError(f"`coverage` is {coverage}; give a share between 0 and 1, as 0.95")
    asked = choices(label_set, label_set.probabilities(logits, temperature))
    truths = true_answers(label_set, targets)
    rows = tuple(
        tuple(fit_quantiles(least_ambiguous(choice.probabilities), truth, coverage, by_class=True).tolist())
        for choice, truth in zip(asked, truths, strict=True)
    )
    return PredictionSets(coverage, rows, fitted_on)


def measure_sets(
    frame: pd.DataFrame, label_set: LabelSet, point: OperatingPoint, *, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """The stored sets on the films of ``frame`` (`results.predictions`): coverage, by answer too, and size.

    For every question: "covered" and "answers" with 95 % intervals by patient, "size" the mean number of answers,
    "sizes" films by number of answers, "single" the films with one answer and how many of those are wrong.
    """
    sets = point.sets
    if sets is None:
        raise ValueError("`point` has no prediction sets; fit them with scripts/reevaluate.py")
    logits, targets = np.stack(frame["logits"].to_list()), np.array(frame["label"].to_list())
    probabilities = label_set.probabilities(logits, point.temperature)
    report: dict[str, Any] = {"coverage": sets.coverage, "fitted_on": sets.fitted_on, "questions": {}}
    members = sets.members(label_set, probabilities)
    asked, truths = choices(label_set, probabilities), true_answers(label_set, targets)
    for choice, inside, truth in zip(asked, members, truths, strict=True):
        known = truth >= 0
        if known.any():
            patients = frame["patient"].to_numpy()[known]
            report["questions"][choice.name] = _measure(
                inside[known], truth[known], choice.answers, patients, resamples
            )
    return report


def _measure(
    inside: np.ndarray, truth: np.ndarray, answers: Sequence[str], patients: np.ndarray, resamples: int
) -> dict[str, Any]:
    covered = inside[np.arange(len(truth)), truth]
    size = inside.sum(axis=1)
    single = size == 1
    by_answer = {}
    for index, answer in enumerate(answers):
        rows = truth == index
        if rows.any():
            weights = patient_weights(patients[rows], resamples)
            by_answer[answer] = {"n": int(rows.sum()), "covered": interval(covered[rows].astype(float), weights)}
    return {
        "n": len(truth),
        "covered": interval(covered.astype(float), patient_weights(patients, resamples)),
        "answers": by_answer,
        "size": float(size.mean()),
        "sizes": {str(k): int((size == k).sum()) for k in range(1, len(answers) + 1)},
        "single": {"n": int(single.sum()), "errors": int((~covered[single]).sum())},
    }


def compare_methods(
    fit: pd.DataFrame, check: pd.DataFrame, label_set: LabelSet, point: OperatingPoint, coverage: float
) -> dict[str, Any]:
    """LAC and APS, with one quantile for all answers and by class: fitted on ``fit`` (val), checked on ``check``.

    For every method the share of films covered, the least covered answer's share, the mean size, and the share of
    empty sets; means over the questions. APS draws its random shares from fixed seeds.
    """
    found: dict[str, list[list[float]]] = {}
    tables = [_asked(frame, label_set, point) for frame in (fit, check)]
    for (before, truth_before), (choice, truth) in zip(*tables, strict=True):
        if not (known := truth >= 0).any():
            continue
        draws = [np.random.default_rng(seed).random(len(p)) for seed, p in enumerate((before, choice))]
        scored = {
            "LAC": (least_ambiguous(before), least_ambiguous(choice)),
            "APS": (adaptive(before, draws[0]), adaptive(choice, draws[1])),
        }
        for name, (fit_scores, scores) in scored.items():
            for by_class in (False, True):
                inside = scores <= fit_quantiles(fit_scores, truth_before, coverage, by_class=by_class)
                covered = inside[known, truth[known]]
                least = min(covered[truth[known] == answer].mean() for answer in np.unique(truth[known]))
                figures = [covered.mean(), least, inside[known].sum(1).mean(), (~inside[known].any(1)).mean()]
                found.setdefault(name + (", by class" if by_class else ""), []).append(figures)
    titles = ("covered", "least_covered_answer", "size", "empty")
    return {name: dict(zip(titles, np.mean(rows, axis=0).tolist(), strict=True)) for name, rows in found.items()}


def _asked(frame: pd.DataFrame, label_set: LabelSet, point: OperatingPoint) -> list[tuple[np.ndarray, np.ndarray]]:
    """(probabilities, right answers) of every question."""
    probabilities = label_set.probabilities(np.stack(frame["logits"].to_list()), point.temperature)
    truths = true_answers(label_set, np.array(frame["label"].to_list()))
    return [(c.probabilities, truth) for c, truth in zip(choices(label_set, probabilities), truths, strict=True)]
