"""Split conformal prediction: quantiles fitted on validation films, coverage and size of the sets checked on test.

Angelopoulos & Bates 2021 (arXiv 2107.07511). The promise holds for films exchangeable with the validation films; how
far another batch or another hospital breaks it is what the check is for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.evaluation.bootstrap import RESAMPLES, mean_estimate, patient_weights
from hf_pneumo.evaluation.classification.selective import ErrorCount
from hf_pneumo.evaluation.estimate import Estimate
from hf_pneumo.evaluation.predictions import Predictions
from hf_pneumo.models.prediction_sets import PredictionSets, choices, true_answers
from hf_pneumo.records import JsonRecord

COVERAGE = 0.95
ROUNDING = 1e-9  # 0.95 * 20 is not 19 in binary


@dataclass(frozen=True)
class AnswerReport(JsonRecord):
    """Of the n films whose right answer is this one, the share whose set holds it."""

    n: int
    covered: Estimate


@dataclass(frozen=True, kw_only=True)
class QuestionReport(JsonRecord):
    """The sets that answer one question, as "PNEUMONIA or NORMAL": coverage of all films and by answer.

    ``size``: mean number of answers in a set; ``sizes``: films by that number; ``single``: the films with one answer.
    """

    n: int
    covered: Estimate
    answers: dict[str, AnswerReport]
    size: float
    sizes: dict[str, int]
    single: ErrorCount


@dataclass(frozen=True)
class MethodReport(JsonRecord):
    """A conformal method: share of films covered, that of the least covered answer, mean size, share of empty sets."""

    covered: float
    least_covered_answer: float
    size: float
    empty: float


@dataclass(frozen=True)
class ConformalReport(JsonRecord):
    """Prediction sets that promise ``coverage``, as they hold on the films, and other ``methods`` beside them."""

    coverage: float
    fitted_on: str
    questions: dict[str, QuestionReport] = field(default_factory=dict)
    methods: dict[str, MethodReport] | None = None


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
    predictions: Predictions, *, resamples: int = RESAMPLES, methods: dict[str, MethodReport] | None = None
) -> ConformalReport:
    """The stored sets on the films of ``predictions``: coverage, by answer too, and size, with intervals by patient.

    Raises ValueError where the operating point has no sets.
    """
    sets = predictions.point.sets
    if sets is None:
        raise ValueError(
            "`predictions` have no prediction sets at their operating point; fit them with hf-pneumo reevaluate"
        )
    members = sets.members(predictions.labels, predictions.probabilities)
    questions = {}
    for (name, answers, _, truth), inside in zip(_questions(predictions), members, strict=True):
        labelled = truth >= 0
        if labelled.any():
            patients = predictions.patients[labelled]
            questions[name] = _measure(inside[labelled], truth[labelled], answers, patients, resamples)
    return ConformalReport(sets.coverage, sets.fitted_on, questions, methods)


def _measure(
    inside: np.ndarray, truth: np.ndarray, answers: Sequence[str], patients: np.ndarray, resamples: int
) -> QuestionReport:
    covered = inside[np.arange(len(truth)), truth].astype(float)
    size = inside.sum(axis=1)
    single = size == 1
    rows_of = {answer: truth == index for index, answer in enumerate(answers)}
    return QuestionReport(
        n=len(truth),
        covered=mean_estimate(covered, patient_weights(patients, resamples)),
        answers={
            answer: AnswerReport(
                int(rows.sum()), mean_estimate(covered[rows], patient_weights(patients[rows], resamples))
            )
            for answer, rows in rows_of.items()
            if rows.any()
        },
        size=float(size.mean()),
        sizes={str(k): int((size == k).sum()) for k in range(1, len(answers) + 1)},
        single=ErrorCount(int(single.sum()), int((covered[single] == 0).sum())),
    )


def compare_methods(fit: Predictions, check: Predictions, coverage: float) -> dict[str, MethodReport]:
    """LAC and APS, with one quantile for all answers and by class: fitted on ``fit`` (val), checked on ``check``.

    Means over the questions. APS draws its random shares from fixed seeds.
    """
    rows: dict[str, list[list[float]]] = {}
    for (_, _, before, truth_before), (_, _, choice, truth) in zip(_questions(fit), _questions(check), strict=True):
        if not (labelled := truth >= 0).any():
            continue
        draws = [np.random.default_rng(seed).random(len(p)) for seed, p in enumerate((before, choice))]
        scored = {
            "LAC": (least_ambiguous(before), least_ambiguous(choice)),
            "APS": (adaptive(before, draws[0]), adaptive(choice, draws[1])),
        }
        for name, (fit_scores, scores) in scored.items():
            for by_class in (False, True):
                inside = scores <= fit_quantiles(fit_scores, truth_before, coverage, by_class=by_class)
                covered = inside[labelled, truth[labelled]]
                least = min(covered[truth[labelled] == answer].mean() for answer in np.unique(truth[labelled]))
                figures = [covered.mean(), least, inside[labelled].sum(1).mean(), (~inside[labelled].any(1)).mean()]
                rows.setdefault(name + (", by class" if by_class else ""), []).append(figures)
    return {name: MethodReport(*np.mean(figures, axis=0).tolist()) for name, figures in rows.items()}


Question = tuple[str, tuple[str, ...], np.ndarray, np.ndarray]


def _questions(predictions: Predictions) -> list[Question]:
    """Name, answers, their probabilities (N, C) and the right one (N,) of every question; -1 where it is not known."""
    labels = predictions.labels
    truths = true_answers(labels, predictions.label)
    asked = choices(labels, predictions.probabilities)
    return [(c.name, tuple(c.answers), c.probabilities, truth) for c, truth in zip(asked, truths, strict=True)]
