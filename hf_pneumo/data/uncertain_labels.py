"""What a model is asked to predict where a label says "uncertain" or nothing: targets and mask from 1, 0, -1 and NaN.

Policies U-Ignore, U-Zeros and U-Ones: Irvin et al. 2019 (arXiv 1901.07031). Label smoothing of the uncertain labels
(LSR), U-Ones in [0.55, 0.85] and U-Zeros in [0, 0.3]: Pham et al. 2021 (arXiv 1911.06475).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hf_pneumo.data.observations import CHEXPERT_14, NEGATIVE, NO_FINDING, POSITIVE, SUPPORT_DEVICES, UNCERTAIN

# The value of an uncertain label under each policy that gives it one; a pair is the range it is drawn from.
_VALUES: dict[str, float | tuple[float, float]] = {
    "u-ones": 1.0,
    "u-zeros": 0.0,
    "u-ones-lsr": (0.55, 0.85),
    "u-zeros-lsr": (0.0, 0.3),
}
POLICIES: tuple[str, ...] = (*_VALUES, "u-ignore")
BLANKS: tuple[str, ...] = ("zero", "ignore")


def targets(
    labels: np.ndarray,
    *,
    policy: str = "u-ones",
    blanks: str = "zero",
    names: Sequence[str] = CHEXPERT_14,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Targets and the mask of those that count, from labels (N, K) of 1, 0, -1 (uncertain) and NaN (blank).

    Targets are float32 (N, K) in [0, 1]. The mask is bool (N, K); masked targets are 0. blanks: "zero" reads "not
    mentioned" as absent, as CheXpert's baseline does, "ignore" masks it, as fits a source that never labelled some of
    the names. No Finding is made to agree with the other targets (see `agree_on_no_finding`). rng draws the smoothed
    values and is needed by the "-lsr" policies alone. Raises ValueError for other values, shapes or names, each named.
    """
    labels = _checked(labels, names)
    _one_of("policy", policy, POLICIES)
    _one_of("blanks", blanks, BLANKS)
    blank, uncertain = np.isnan(labels), labels == UNCERTAIN
    mask = np.ones(labels.shape, dtype=bool) if blanks == "zero" else ~blank
    values = np.where(blank | uncertain, 0.0, labels).astype(np.float32)
    if policy == "u-ignore":
        mask &= ~uncertain
    else:
        values[uncertain] = _uncertain_values(policy, int(uncertain.sum()), rng)
    values, mask = agree_on_no_finding(values, mask, names=names)
    return np.where(mask, values, np.float32(0)), mask


def agree_on_no_finding(
    values: np.ndarray, mask: np.ndarray, *, names: Sequence[str] = CHEXPERT_14
) -> tuple[np.ndarray, np.ndarray]:
    """Targets (N, K) and mask in which No Finding contradicts no other target.

    A finding above 0.5, support devices aside, makes No Finding 0. No Finding above 0.5 without one makes masked
    findings count as absent, those aside that no row of the table knows. Label sets without No Finding stay.
    """
    values, mask = values.copy(), mask.copy()
    if NO_FINDING not in names:
        return values, mask
    column = list(names).index(NO_FINDING)
    findings = np.array([name not in (NO_FINDING, SUPPORT_DEVICES) for name in names])
    found = ((values > 0.5) & mask)[:, findings].any(axis=1)
    values[found, column] = NEGATIVE
    mask[found, column] = True
    clear = (values[:, column] > 0.5) & mask[:, column]
    absent = clear[:, None] & (findings & mask.any(axis=0))[None, :] & ~mask
    values[absent] = NEGATIVE
    mask[absent] = True
    return values, mask


def _checked(labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    labels = np.asarray(labels, dtype=np.float32)
    if labels.ndim != 2 or labels.shape[1] != len(names):
        raise ValueError(f"`labels` has shape {labels.shape}; it must be (N, {len(names)}), one column per name.")
    strange = ~(np.isnan(labels) | np.isin(labels, (POSITIVE, NEGATIVE, UNCERTAIN)))
    if strange.any():
        row, column = np.argwhere(strange)[0]
        value = labels[row, column]
        raise ValueError(f"`labels` holds {value:g} for {names[column]} in row {row}; allowed are 1, 0, -1 and NaN.")
    return labels


def _one_of(argument: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"`{argument}` is {value!r}; choose one of {', '.join(allowed)}.")


def _uncertain_values(policy: str, count: int, rng: np.random.Generator | None) -> float | np.ndarray:
    value = _VALUES[policy]
    if not isinstance(value, tuple):
        return value
    if rng is None:
        raise ValueError(f"`rng` is missing; {policy} draws its targets, give numpy.random.default_rng(seed).")
    return rng.uniform(*value, size=count).astype(np.float32)
