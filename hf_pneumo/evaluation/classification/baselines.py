"""Trivial models: what logistic regression reaches without looking at lungs. Printed beside every headline.

A figure says little until one knows how far the exposure of a film, or its border alone, would have got.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hf_pneumo.data.film_cache import Films
from hf_pneumo.data.labels import LabelSet
from hf_pneumo.evaluation.bootstrap import RESAMPLES
from hf_pneumo.evaluation.classification.metrics import LabelReport, measure
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.classifier import build, timm_name
from hf_pneumo.models.inference import predict_logits
from hf_pneumo.records import JsonRecord

FRAME = 24  # the border is 1/24 of the side wide
PIXELS = 48
CELLS = 16


def intensity_statistics(gray: np.ndarray) -> np.ndarray:
    """Nine numbers a film, float (N, 9), from uint8 (N, h, w): mean, sd, skewness, kurtosis and five percentiles."""
    flat = gray.reshape(len(gray), -1).astype(np.float32) / 255
    moments = (flat.mean(1), flat.std(1), stats.skew(flat, axis=1), stats.kurtosis(flat, axis=1))
    return np.column_stack([*moments, *np.percentile(flat, (5, 25, 50, 75, 95), axis=1)])


def frame_pixels(gray: np.ndarray) -> np.ndarray:
    """The outermost 1/24 on each side alone, float (N, pixels of the frame), at 48 x 48 pixels."""
    small = small_pixels(gray).reshape(len(gray), PIXELS, PIXELS)
    inside = np.zeros((PIXELS, PIXELS), dtype=bool)
    edge = PIXELS // FRAME
    inside[edge:-edge, edge:-edge] = True
    return small[:, ~inside]


def small_pixels(gray: np.ndarray) -> np.ndarray:
    """All pixels at 48 x 48, float (N, 2304) in [0, 1]."""
    resize = Preprocess(size=(PIXELS, PIXELS)).to_gray
    return np.stack([resize(film) for film in gray]).reshape(len(gray), -1).astype(np.float32) / 255


def outline(gray: np.ndarray) -> np.ndarray:
    """Where the lungs of cut films uint8 (N, h, w) lie, 0 outside: shares of 16 x 16 cells, and of all, (N, 257)."""
    inside = (gray > 0) * np.uint8(255)
    resize = Preprocess(size=(CELLS, CELLS)).to_gray
    cells = np.stack([resize(film) for film in inside]).reshape(len(gray), -1) / 255
    return np.column_stack([cells, cells.mean(1)])


TRIVIAL_MODELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "nine intensity statistics": intensity_statistics,
    "outer 1/24 frame only": frame_pixels,
    "48x48 pixels": small_pixels,
}


def frozen_features(backbone: str, weights: str | Path | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """A function from films uint8 (N, h, w) to a pretrained network's pooled features, float (N, features).

    ``weights``: safetensors file; None takes ImageNet weights from the Hub. OSError where there are none.
    """
    network = build(backbone, 1, pretrained=weights is None, init_weights=weights)
    network.reset_classifier(0)
    normalisation = network.pretrained_cfg
    preprocess = Preprocess(mean=tuple(normalisation["mean"]), std=tuple(normalisation["std"]))
    return lambda gray: predict_logits(network, gray, preprocess)


@dataclass(frozen=True)
class BaselinesReport(JsonRecord):
    """What trivial models reach on one subset of a data set under a split protocol, by their names."""

    models: dict[str, LabelReport]
    dataset: str | None = None
    protocol: str | None = None
    subset: str | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The models lie beside the other keys."""
        models = {name: value for name, value in values.items() if isinstance(value, Mapping)}
        return super().from_json({**values, "models": models})

    def to_json(self) -> dict[str, Any]:
        said = {name: getattr(self, name) for name in ("dataset", "protocol", "subset") if getattr(self, name)}
        return {**said, **{name: report.to_json() for name, report in self.models.items()}}

    @property
    def best(self) -> str | None:
        """The model of the highest AUROC; None where none has one."""
        ranked = {name: found.value for name, report in self.models.items() if (found := report.metrics["auroc"])}
        return max(ranked, key=lambda name: ranked[name], default=None)


def baselines_path(folder: Path, dataset: str, protocol: str, subset: str) -> Path:
    """Where ``folder`` holds the baselines of these films: one file a data set, protocol and subset."""
    name = re.sub(r"[^\w.]+", "-", dataset.rpartition("/")[2])
    return folder / f"{name}-{protocol}-{subset}.json"


def measure_baselines(
    train: Films,
    test: Films,
    labels: LabelSet,
    *,
    backbone: str | None = None,
    weights: str | Path | None = None,
    cut: bool = False,
    resamples: int = RESAMPLES,
    **said: str,
) -> BaselinesReport:
    """The figures on ``test`` of class-balanced logistic regressions fitted on ``train``, at 0.5.

    Where the films are ``cut`` to their lungs, also of their outline; where views are known, of the view alone. Also
    the majority class of ``train``, and with ``backbone`` its frozen features (see :func:`frozen_features`), which
    see all of the film but were never taught one. ``said``: dataset, protocol and subset. Raises ValueError for label
    sets of several scores.
    """
    if len(labels.score_names) != 1:
        raise ValueError(f"`labels` {labels.task!r} has {len(labels.score_names)} scores; baselines are for one")
    fit_target = labels.score_targets(np.array(train.table["label"]))[:, 0]
    target = labels.score_targets(np.array(test.table["label"]))[:, 0]
    patients = test.table["patient"]
    majority = np.full(len(target), float(np.nanmean(fit_target) >= 0.5))
    reports = {"majority class": measure(majority, target, 0.5, patients, resamples=resamples)}
    ladder = dict(TRIVIAL_MODELS)
    if backbone is not None:
        ladder[f"frozen ImageNet features of {timm_name(backbone)}"] = frozen_features(backbone, weights)
    if cut:
        ladder["outline of the lungs"] = outline
    seen = {name: [of(np.asarray(films.gray)) for films in (train, test)] for name, of in ladder.items()}
    views = [np.array([view == "AP" for view in films.table["view"]], dtype=float)[:, None] for films in (train, test)]
    if len(np.unique(views[0])) > 1:
        seen["view alone, AP or PA"] = views
    for name, (learnt, measured) in seen.items():
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
        clear = ~np.isnan(fit_target)
        probability = model.fit(learnt[clear], fit_target[clear]).predict_proba(measured)[:, 1]
        reports[name] = measure(probability, target, 0.5, patients, resamples=resamples)
    return BaselinesReport(reports, **said)
