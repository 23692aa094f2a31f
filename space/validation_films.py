"""What became of the validation films that a checkpoint scored like the film in hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hf_pneumo.evaluation.predictions import Predictions

AS_MANY = 100
LEAST = 20  # films; fewer say nothing
LARGEST_SHARE = 0.25  # of all validation films; more are no longer alike


@dataclass(frozen=True)
class Alike:
    """``films`` whose score was nearest: ``positive`` had the finding, ``otherwise`` were abnormal in another way."""

    films: int
    positive: int
    otherwise: int


class ValidationFilms:
    """The validation films of one checkpoint by score."""

    def __init__(self, predictions: Predictions) -> None:
        self.labels, self._scores, self._targets = predictions.labels, predictions.scores, predictions.targets

    def alike(self, name: str, score: float) -> Alike | None:
        """Those nearest to ``score`` in [0, 1] of the score ``name``; None where too few are there to count.

        Films whose label nobody could tell are left out; exclusive labels between normal and the finding are counted.
        """
        column = self.labels.score_names.index(name)
        scores, targets = self._scores[:, column], self._targets[:, column]
        if not self.labels.between:
            scores, targets = scores[~np.isnan(targets)], targets[~np.isnan(targets)]
        count = min(AS_MANY, int(LARGEST_SHARE * len(scores)))
        if count < LEAST:
            return None
        nearest = targets[np.argsort(np.abs(scores - score), kind="stable")[:count]]
        return Alike(count, int((nearest == 1).sum()), int(np.isnan(nearest).sum()))

    def share(self, name: str) -> float:
        """Of all validation films, the share in [0, 1] that had the finding ``name``."""
        return float((self._targets[:, self.labels.score_names.index(name)] == 1).mean())
