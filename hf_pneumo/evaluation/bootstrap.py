"""The bootstrap over patients, by which every interval is made: films of one patient are drawn together or not at all.

Efron & Tibshirani 1993, percentile intervals. A draw is held as the rows of its films where a statistic needs the films
themselves, and as a weight a film where means are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from hf_pneumo.evaluation.estimate import Estimate

RESAMPLES, SEED = 1000, 0
INTERVAL = (2.5, 97.5)  # percentiles


def patient_resamples(patients: Sequence[str] | np.ndarray, resamples: int = RESAMPLES) -> list[np.ndarray]:
    """Row numbers of ``resamples`` draws of patients with replacement, each with all films of the drawn patients.

    The same for the same patients; the last few are remembered, since one report asks for them many times.
    """
    return _draws(tuple(np.asarray(patients).tolist()), resamples)


@lru_cache(maxsize=4)  # 7 MB each for a thousand films
def _draws(patients: tuple[str, ...], resamples: int) -> list[np.ndarray]:
    _, patient = np.unique(patients, return_inverse=True)
    order = np.argsort(patient, kind="stable")
    films = np.split(order, np.flatnonzero(np.diff(patient[order])) + 1)
    generator = np.random.default_rng(SEED)
    return [np.concatenate([films[i] for i in generator.integers(0, len(films), len(films))]) for _ in range(resamples)]


def patient_weights(patients: Sequence[str] | np.ndarray, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """How often each film is drawn in each bootstrap sample of patients: int (resamples, N)."""
    names, index = np.unique(np.asarray(patients), return_inverse=True)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return drawn[:, index]


def estimate(value: float, drawn: Sequence[float] | np.ndarray) -> Estimate | None:
    """``value`` between the percentiles of those draws (R,) that have the figure; None where it has no value itself."""
    if np.isnan(value):
        return None
    usable = np.asarray(drawn)[~np.isnan(drawn)]
    low, high = map(float, np.percentile(usable, INTERVAL)) if len(usable) else (None, None)
    return Estimate(float(value), low, high)


def mean_estimate(values: np.ndarray, weights: np.ndarray) -> Estimate:
    """Mean of ``values`` (N,), with its interval over bootstrap ``weights`` (R, N)."""
    return weighted_estimate(float(values.mean()), lambda drawn: float((drawn * values).sum() / drawn.sum()), weights)


def weighted_estimate(value: float, statistic: Callable[[np.ndarray], float], weights: np.ndarray) -> Estimate:
    """``value`` with the interval of ``statistic(film weights)`` over bootstrap ``weights`` (R, N)."""
    low, high = np.nanpercentile([statistic(drawn) for drawn in weights], INTERVAL)
    return Estimate(float(value), float(low), float(high))
