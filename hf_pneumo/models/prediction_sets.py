"""Prediction sets: instead of one label, all labels that a film may have at a stated coverage.

What is stored in a checkpoint and applied to a film; fitted and checked in `evaluation.classification.conformal`.
The labels' own quantiles make the promise hold for each label by itself, the rare one too (class-conditional, or
Mondrian, conformal prediction; Vovk 2012, arXiv 1209.2673).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hf_pneumo.data.labels import LabelSet


class Choice(NamedTuple):
    """One question with answers that exclude each other: its name, its answers, their probabilities (N, C)."""

    name: str
    answers: tuple[str, ...]
    probabilities: np.ndarray


def choices(labels: LabelSet, probabilities: np.ndarray) -> list[Choice]:
    """The questions behind ``probabilities`` (N, K): one of K answers for exclusive labels, else K of yes and no."""
    if labels.exclusive:
        return [Choice(labels.score_names[0], labels.names, probabilities)]
    return [
        Choice(name, (f"no {name}", name), np.stack([1 - p, p], axis=1))
        for name, p in zip(labels.names, probabilities.T, strict=True)
    ]


def true_answers(labels: LabelSet, targets: np.ndarray) -> list[np.ndarray]:
    """For every question of :func:`choices` the index of the right answer, int (N,); -1 where it is not known."""
    targets = np.asarray(targets)
    if labels.exclusive:
        return [targets.astype(int)]
    columns = labels.score_targets(targets).T
    return [np.where(np.isnan(column), -1, column > 0.5).astype(int) for column in columns]


@dataclass(frozen=True)
class PredictionSets:
    """``quantiles``: for every question one number per answer; an answer is in the set where 1 - p does not exceed it.

    (Least ambiguous sets; Sadinle et al. 2019, arXiv 1609.00451.) ``coverage``: how often the set is to hold the truth,
    in (0, 1), on films like those of ``fitted_on``. A set that would be empty, because no answer is as likely as the
    truth usually is, is returned whole: for a reader both mean that the film cannot be told, and coverage only rises.
    """

    coverage: float
    quantiles: tuple[tuple[float, ...], ...]
    fitted_on: str = "not fitted"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PredictionSets:
        """Inverse of :meth:`to_dict`."""
        rows = tuple(tuple(float(q) for q in row) for row in values["quantiles"])
        return cls(float(values["coverage"]), rows, values["fitted_on"])

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict of all fields."""
        rows = [list(row) for row in self.quantiles]
        return {"coverage": self.coverage, "quantiles": rows, "fitted_on": self.fitted_on}

    def members(self, labels: LabelSet, probabilities: np.ndarray) -> list[np.ndarray]:
        """For every question which answers are in the set of each film, bool (N, C), from ``probabilities`` (N, K)."""
        found = []
        for choice, quantiles in zip(choices(labels, probabilities), self.quantiles, strict=True):
            inside = 1 - choice.probabilities <= np.array(quantiles)
            found.append(inside | ~inside.any(axis=1, keepdims=True))
        return found

    def of_film(self, labels: LabelSet, probabilities: np.ndarray) -> dict[str, tuple[str, ...]]:
        """The sets of one film from its ``probabilities`` (K,), by the questions' names."""
        asked = choices(labels, probabilities[None])
        members = self.members(labels, probabilities[None])
        return {
            choice.name: tuple(a for a, within in zip(choice.answers, inside[0], strict=True) if within)
            for choice, inside in zip(asked, members, strict=True)
        }
