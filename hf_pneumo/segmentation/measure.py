"""How well lungs are found: Dice on films of other patients, phantoms and another source; size and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import GroupKFold

from hf_pneumo.imaging.lungs import LungField, find_lungs
from hf_pneumo.segmentation.samples import Samples

Find = Callable[[np.ndarray], LungField]
TIMED = 50  # films a clock reading is the median of
FILM_SIDES = (224, 512, 2000)  # pixels a side of the films that are timed


class FilmScore(NamedTuple):
    """One film: Dice, share of the true lungs that the mask holds, whether lungs were found."""

    dice: float
    inside: float
    found: bool


@dataclass(frozen=True)
class Overlap:
    """Dice over ``films`` films: mean, median, tenth percentile; ``inside``: mean share of the true lungs in the mask.

    ``found``: films whose lungs were found; where they were not, the mask is the whole film, and counts as that.
    """

    films: int
    found: int
    mean: float
    median: float
    tenth: float
    inside: float


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|) of two bool masks; 1 where both are empty."""
    total = mask.sum() + truth.sum()
    return float(2 * (mask & truth).sum() / total) if total else 1.0


def score(samples: Samples, find: Find = find_lungs) -> list[FilmScore]:
    """Each of ``samples`` by ``find``, in their pixels and only where their masks are trusted."""
    scores = []
    for film, lungs, trusted in zip(samples.films, samples.lungs, samples.trusted, strict=True):
        field = find(film)
        mask, truth = field.mask(*lungs.shape) & trusted, lungs & trusted
        scores.append(FilmScore(dice(mask, truth), float((mask & truth).sum() / max(truth.sum(), 1)), field.found))
    return scores


def summary(scores: Sequence[FilmScore]) -> Overlap:
    """The films' ``scores`` in one line."""
    dices, inside, found = (np.array(values, dtype=float) for values in zip(*scores, strict=True))
    mean, median, tenth = dices.mean(), np.median(dices), np.percentile(dices, 10)
    return Overlap(len(scores), int(found.sum()), *(round(float(v), 4) for v in (mean, median, tenth, inside.mean())))


def patient_folds(patients: np.ndarray, folds: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(train, test) rows of each fold; all films of a patient lie in one. ValueError for fewer patients than folds."""
    if (count := len(set(patients))) < folds:
        raise ValueError(f"`folds` is {folds}, but the masks are of {count} patients; give at most {count}")
    return GroupKFold(folds).split(patients, groups=patients)


def milliseconds(find: Find = find_lungs) -> dict[str, float]:
    """Median processor time of one film, from grey pixels to box, by its side in pixels: one thread, the session warm.

    Processor time, so that what else the machine does does not count; of one thread, so that it is the time waited.
    """
    times = {}
    for side in FILM_SIDES:
        film = np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)
        find(film)
        taken = []
        for _ in range(TIMED):
            start = time.thread_time()
            field = find(film)
            _ = field.box
            taken.append(time.thread_time() - start)
        times[f"{side} x {side}"] = round(1000 * float(np.median(taken)), 2)
    return times
