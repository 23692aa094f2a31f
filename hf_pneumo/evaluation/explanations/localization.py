"""Does a heatmap point where radiologists drew their boxes? Metrics as pure functions of arrays.

Maps and truths live in one frame that covers the whole film, `FRAME` x `FRAME` pixels unless said otherwise. Truth is
for measuring only: the one thing tuned on it is the threshold, on one half of the patients, reported on the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from hf_pneumo.evaluation.bootstrap import RESAMPLES, SEED, mean_estimate, patient_weights, weighted_estimate
from hf_pneumo.evaluation.estimate import Estimate
from hf_pneumo.models.training_record import TrainingRecord
from hf_pneumo.records import JsonRecord

FRAME = 224
TOLERANCE = 15.0  # pixels at 224, as in the pointing game (Zhang et al. 2018, arXiv 1608.00507)
THRESHOLDS = np.round(np.arange(0.05, 1.0, 0.05), 2)
TIOU = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)  # the thresholds of Wang et al. 2017, arXiv 1705.02315
LEVELS = 4096  # grey levels of the pooled precision-recall curve


@dataclass(frozen=True, kw_only=True)
class GroupMapReport(JsonRecord):
    """The main figures of the maps of one group of films, such as a view."""

    films: int
    pointing: Estimate
    hit_rate: Estimate
    pixel_auprc: Estimate
    iou: Estimate


@dataclass(frozen=True, kw_only=True)
class MapReport(JsonRecord):
    """How well maps meet the truth, with intervals by patient.

    ``pixel_auprc``: mean over films; ``pixel_auprc_pooled``: all films' pixels as one; ``iou``: at the threshold tuned
    on the other half of the patients, the two ``thresholds``; ``iou_accuracy``: share of films by T(IoU);
    ``iou_sweep``: mean IoU by threshold; ``constant_maps``: share of maps of one value.
    """

    films: int
    patients: int
    pointing: Estimate
    hit_rate: Estimate
    pixel_auprc: Estimate
    pixel_auprc_pooled: Estimate
    energy: Estimate
    iou: Estimate
    iou_accuracy: dict[str, Estimate]
    iou_sweep: dict[str, float]
    thresholds: tuple[float, ...]
    constant_maps: float


@dataclass(frozen=True, kw_only=True)
class NormalFilmsReport(JsonRecord):
    """What is shown on films without the finding.

    ``called_positive``: share of films that would show boxes at all. ``area``: share of the film at or above
    ``threshold``; ``area_shown``: the same with nothing shown on films called negative.
    """

    films: int
    threshold: float
    called_positive: Estimate
    area: Estimate
    area_shown: Estimate


@dataclass(frozen=True, kw_only=True)
class MethodMapReport(MapReport):
    """The maps of one explanation method.

    ``over``: by baseline, by how much the maps are better, film by film. ``mean_map``: the mean of the method's maps on
    every film. ``groups``: by view or another group. ``called_positive``: share of the films with the finding.
    """

    over: dict[str, dict[str, Estimate]] | None = None
    mean_map: MapReport | None = None
    groups: dict[str, GroupMapReport] | None = None
    called_positive: float | None = None
    normal: NormalFilmsReport | None = None


@dataclass(frozen=True, kw_only=True)
class LocalizationReport(JsonRecord):
    """One results file: every method and baseline on the same films.

    ``variants``: other ways of making the maps, by name (see `variants`); ``baseline_groups``: baselines by group, such
    as the view; ``agreement``: rank correlation of the methods' plain maps. The first fields say of which checkpoint,
    at which settings.
    """

    checkpoint: str | None = None
    revision: str | None = None
    architecture: str | None = None
    training: TrainingRecord | None = None
    frame: int | tuple[int, int] | None = None
    tolerance: float | None = None
    source: str | None = None
    smoothing: str | None = None
    target: str | None = None
    methods: dict[str, MethodMapReport]
    baselines: dict[str, MapReport]
    agreement: dict[str, dict[str, float]] = field(default_factory=dict)
    variants: dict[str, dict[str, MethodMapReport]] | None = None
    baseline_groups: dict[str, dict[str, GroupMapReport]] | None = None


def box_mask(boxes: Sequence[Sequence[float]], shape: tuple[int, int], frame: tuple[int, int]) -> np.ndarray:
    """Boxes (x, y, w, h) in an image of `shape` (H, W) pixels to their union in a frame (h, w): bool."""
    mask = np.zeros(frame, dtype=bool)
    down, right = frame[0] / shape[0], frame[1] / shape[1]
    for x, y, w, h in boxes:
        rows = slice(max(0, round(y * down)), max(round((y + h) * down), round(y * down) + 1))
        mask[rows, max(0, round(x * right)) : max(round((x + w) * right), round(x * right) + 1)] = True
    return mask


def pointing(heat: np.ndarray, truth: np.ndarray, tolerance: float = TOLERANCE) -> float:
    """Whether the map's maximum lies within `tolerance` pixels of the truth (h, w bool): 1 or 0.

    Of several equal maxima, the share that does; a map of one value points nowhere and is a miss. Tolerance 0 is the
    hit rate (Saporta et al. 2022, 10.1038/s42256-022-00536-x).
    """
    if not truth.any() or heat.max() == heat.min():
        return 0.0
    near = ndimage.distance_transform_edt(~truth) <= tolerance
    return float(near[heat == heat.max()].mean())


def overlaps(heat: np.ndarray, truth: np.ndarray, thresholds: np.ndarray = THRESHOLDS) -> np.ndarray:
    """Intersection over union of the truth with the map at or above each threshold: float (len(thresholds),)."""
    inside, outside = np.sort(heat[truth]), np.sort(heat[~truth])
    both = inside.size - np.searchsorted(inside, thresholds, side="left")
    extra = outside.size - np.searchsorted(outside, thresholds, side="left")
    return both / np.maximum(inside.size + extra, 1)


def average_precision(heat: np.ndarray, truth: np.ndarray) -> float:
    """Area under the pixels' precision-recall curve as average precision; NaN where there is no truth."""
    return average_precision_of_counts(*level_counts(heat, truth, exact=True))


def level_counts(heat: np.ndarray, truth: np.ndarray, exact: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Pixels inside and outside the truth at each grey level, highest first; `exact` takes the map's own values."""
    if exact:
        _, level = np.unique(-heat.ravel(), return_inverse=True)
        size = int(level.max()) + 1
    else:
        level, size = (LEVELS - 1) - np.rint(heat.ravel() * (LEVELS - 1)).astype(np.int64), LEVELS
    flat = truth.ravel()
    return np.bincount(level[flat], minlength=size), np.bincount(level[~flat], minlength=size)


def average_precision_of_counts(inside: np.ndarray, outside: np.ndarray) -> float:
    """Average precision from counts by falling level: sum of precision times the gain in recall."""
    if not inside.sum():
        return float("nan")
    hits, shown = np.cumsum(inside), np.cumsum(inside + outside)
    return float((inside * hits / np.maximum(shown, 1)).sum() / inside.sum())


def energy_inside(heat: np.ndarray, truth: np.ndarray) -> float:
    """Share of the map's heat that lies inside the truth (the energy-based pointing game, arXiv 1910.01279)."""
    total = float(heat.sum())
    return float(heat[truth].sum()) / total if total > 0 else 0.0


def halves(patients: Sequence[str], seed: int = SEED) -> np.ndarray:
    """Which half each film belongs to, 0 or 1, whole patients together: int (N,)."""
    names, index = np.unique(np.asarray(patients), return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    return (order % 2)[index]


def cross_tuned(
    ious: np.ndarray, half: np.ndarray, thresholds: np.ndarray = THRESHOLDS
) -> tuple[np.ndarray, list[float]]:
    """IoU (N,) of each film at the threshold that is best on the other half, and the two thresholds.

    `ious` (N, T) as `overlaps` gives them. Every film is reported, none with a threshold that saw its patient.
    """
    found, chosen = np.empty(len(ious)), []
    for side in (0, 1):
        others = ious[half != side] if (half != side).any() else ious
        best = int(others.mean(axis=0).argmax())
        found[half == side] = ious[half == side, best]
        chosen.append(float(thresholds[best]))
    return found, chosen


def measure_maps(
    maps: np.ndarray,
    truths: np.ndarray,
    patients: Sequence[str],
    *,
    tolerance: float = TOLERANCE,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> MapReport:
    """All metrics of maps (N, h, w) in [0, 1] against truths (N, h, w) bool, with intervals by patient.

    Raises ValueError for arrays that do not belong together.
    """
    if maps.shape != truths.shape or len(maps) != len(patients) or not len(maps):
        raise ValueError(
            f"`maps` {maps.shape}, `truths` {truths.shape} and {len(patients)} `patients` must belong to the "
            "same films, at least one."
        )
    films = range(len(maps))
    weights = patient_weights(patients, resamples, seed)
    ious = np.stack([overlaps(maps[i], truths[i]) for i in films])
    tuned, chosen = cross_tuned(ious, halves(patients, seed))
    counts = [level_counts(maps[i], truths[i]) for i in films]
    inside, outside = (np.stack([pair[side] for pair in counts]).astype(float) for side in (0, 1))
    pooled = average_precision_of_counts(inside.sum(0), outside.sum(0))
    hits = {cut: np.array([pointing(maps[i], truths[i], cut) for i in films]) for cut in (tolerance, 0.0)}
    return MapReport(
        films=len(maps),
        patients=len(set(patients)),
        pointing=mean_estimate(hits[tolerance], weights),
        hit_rate=mean_estimate(hits[0.0], weights),
        pixel_auprc=mean_estimate(np.array([average_precision(maps[i], truths[i]) for i in films]), weights),
        pixel_auprc_pooled=weighted_estimate(
            pooled, lambda drawn: average_precision_of_counts(drawn @ inside, drawn @ outside), weights
        ),
        energy=mean_estimate(np.array([energy_inside(maps[i], truths[i]) for i in films]), weights),
        iou=mean_estimate(tuned, weights),
        iou_accuracy={f"{cut:.1f}": mean_estimate((tuned > cut).astype(float), weights) for cut in TIOU},
        iou_sweep={f"{cut:.2f}": float(value) for cut, value in zip(THRESHOLDS, ious.mean(0), strict=True)},
        thresholds=tuple(chosen),
        constant_maps=float(np.mean([maps[i].max() == maps[i].min() for i in films])),
    )


def paired_difference(
    maps: np.ndarray, others: np.ndarray, truths: np.ndarray, patients: Sequence[str], *, resamples: int = RESAMPLES
) -> dict[str, Estimate]:
    """By how much maps (N, h, w) are better than `others` on the same films: pointing and pixel_auprc, film by film.

    With 95 % intervals by patient: one that holds zero says that the films are too few to tell.
    """
    weights = patient_weights(patients, resamples)
    metrics = {"pointing": pointing, "pixel_auprc": average_precision}
    return {
        name: mean_estimate(
            np.array([metric(a, t) - metric(b, t) for a, b, t in zip(maps, others, truths, strict=True)]), weights
        )
        for name, metric in metrics.items()
    }


def false_activation(
    maps: np.ndarray, called: np.ndarray, patients: Sequence[str], threshold: float, *, resamples: int = RESAMPLES
) -> NormalFilmsReport:
    """What is shown on films without the finding: maps (N, h, w), and whether each is called positive, bool (N,)."""
    weights = patient_weights(patients, resamples)
    area = (maps >= threshold).reshape(len(maps), -1).mean(1)
    return NormalFilmsReport(
        films=len(maps),
        threshold=threshold,
        called_positive=mean_estimate(called.astype(float), weights),
        area=mean_estimate(area, weights),
        area_shown=mean_estimate(area * called, weights),
    )


def random_maps(count: int, frame: tuple[int, int], grid: int = 7, seed: int = SEED) -> np.ndarray:
    """Baseline: uniform noise on a `grid` x `grid` raster, upsampled as such a map is: float32 (N, h, w)."""
    import torch  # reading a report needs none

    from hf_pneumo.explain.raw_maps import upsample

    coarse = np.random.default_rng(seed).random((count, grid, grid))
    return _to_unit(upsample(torch.from_numpy(coarse), frame).numpy())


def centred_gaussian(frame: tuple[int, int], sigma: float = 0.25) -> np.ndarray:
    """Baseline: a bell in the middle of the film, `sigma` a share of each side: float32 (h, w)."""
    rows, columns = (((np.arange(side) + 0.5) / side - 0.5) / sigma for side in frame)
    return np.exp(-0.5 * (rows[:, None] ** 2 + columns[None] ** 2)).astype(np.float32)


def mean_map(maps: np.ndarray) -> np.ndarray:
    """Baseline: the mean of many films' maps, the same for every film: float32 (h, w) in [0, 1]."""
    return _to_unit(maps.mean(0, keepdims=True))[0]


def others_mean(truths: np.ndarray, patients: Sequence[str]) -> np.ndarray:
    """Baseline: for each film, the mean of the other patients' truths - all that place alone can tell: (N, h, w)."""
    ids, total = np.asarray(patients), truths.sum(0, dtype=np.float64)
    own = {name: truths[ids == name].sum(0, dtype=np.float64) for name in set(patients)}
    return _to_unit(np.stack([total - own[name] for name in patients]))


def _to_unit(maps: np.ndarray) -> np.ndarray:
    top = maps.max(axis=(1, 2), keepdims=True)
    return (maps / np.where(top > 0, top, 1)).astype(np.float32)
