"""What a threshold means: films found, missed and called wrongly, at any threshold and share of ill people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_curve

from hf_pneumo.evaluation.classification.calibration import reliability
from hf_pneumo.evaluation.predictions import Predictions

CROWD = 1000  # films that errors are counted in


@dataclass(frozen=True)
class Rates:
    """Shares in [0, 1] that hold whatever the share of ill people."""

    sensitivity: float
    specificity: float

    def positive_predictive_value(self, prevalence: float) -> float | None:
        """Of the films called positive, the share that is, where ``prevalence`` of all are; None if none is called."""
        right, false = self.sensitivity * prevalence, (1 - self.specificity) * (1 - prevalence)
        return right / (right + false) if right + false else None

    def negative_predictive_value(self, prevalence: float) -> float | None:
        """Of the films called negative, the share that is; None if none is called so."""
        right, false = self.specificity * (1 - prevalence), (1 - self.sensitivity) * prevalence
        return right / (right + false) if right + false else None

    def missed(self, prevalence: float) -> float:
        """Of `CROWD` films, how many have the finding and are called negative."""
        return CROWD * prevalence * (1 - self.sensitivity)

    def false_alarms(self, prevalence: float) -> float:
        """Of `CROWD` films, how many are called positive without the finding."""
        return CROWD * (1 - prevalence) * (1 - self.specificity)

    def wrong(self, prevalence: float) -> float:
        """Of `CROWD` films, how many are called wrongly."""
        return self.missed(prevalence) + self.false_alarms(prevalence)


@dataclass(frozen=True, eq=False)
class ScoredFilms:
    """One score in [0, 1] of films whose label is known, with it (1 or 0); ``unknown``: how many were left out."""

    scores: np.ndarray
    targets: np.ndarray
    unknown: int

    @classmethod
    def of(cls, predictions: Predictions, name: str) -> ScoredFilms:
        """Of the score ``name``."""
        column = predictions.labels.score_names.index(name)
        scores, targets = predictions.scores[:, column], predictions.targets[:, column]
        known = ~np.isnan(targets)
        return cls(scores[known], targets[known], int((~known).sum()))

    @property
    def has_both(self) -> bool:
        """Whether there are films with and without the finding."""
        return 0 < self.targets.sum() < len(self.targets)

    @property
    def prevalence(self) -> float:
        return float(self.targets.mean())

    def at(self, threshold: float) -> Rates:
        """The rates where films are called positive from ``threshold`` on."""
        called = self.scores >= threshold
        return Rates(float(called[self.targets == 1].mean()), float((~called)[self.targets == 0].mean()))

    def roc(self) -> list[tuple[float, float]]:
        """The curve as points (1 - specificity, sensitivity)."""
        false, true, _ = roc_curve(self.targets, self.scores)
        return list(zip(false.tolist(), true.tolist(), strict=True))

    def reliability(self) -> list[tuple[float, float, int]]:
        """By bins of the score: its mean, the share with the finding, and the number of films."""
        rows = reliability(self.scores, self.targets)
        return [(row["predicted"], row["observed"], int(row["n"])) for row in rows]
