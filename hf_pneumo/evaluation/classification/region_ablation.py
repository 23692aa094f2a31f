"""How much of a network's score comes from outside the lungs: its predictions with parts of every film hidden.

The same network at the same operating point sees each film three times: the outer border alone, everything outside the
lungs alone, and the lungs alone. A network that has learnt lungs is at chance on the first two and as good as ever on
the third (DeGrave et al. 2021, doi 10.1038/s42256-021-00338-7, show one that has not). What is hidden gets the mean of
what is shown, so that it tells nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from accelerate import Accelerator

from hf_pneumo.data.film_cache import Films
from hf_pneumo.evaluation.bootstrap import RESAMPLES
from hf_pneumo.evaluation.classification.baselines import FRAME
from hf_pneumo.evaluation.classification.contrasts import measure_contrasts
from hf_pneumo.evaluation.classification.label_metrics import measure_predictions
from hf_pneumo.evaluation.classification.metrics import Estimates, LabelReport
from hf_pneumo.evaluation.predictions import Predictions
from hf_pneumo.imaging.lungs import Box, find_lungs
from hf_pneumo.imaging.preprocess import FIXED_LUNGS, LUNGS, Crop, Preprocess
from hf_pneumo.models.checkpoint import Checkpoint
from hf_pneumo.models.inference import predict_logits
from hf_pneumo.records import JsonRecord

Array = np.ndarray
SHORTCUTS = "-shortcuts"  # ends the names of files with these results
OUTLINE = "outline of the lungs alone"
GRAIN = 3.0  # grey levels, standard deviation of the grain of a film that shows nothing
NOTHING = 128  # grey of a film of which nothing is shown


def _border(shape: tuple[int, int], box: Box) -> Array:
    shown = np.ones(shape, dtype=bool)
    height, width = (max(side // FRAME, 1) for side in shape)
    shown[height:-height, width:-width] = False
    return shown


def _lungs(shape: tuple[int, int], box: Box) -> Array:
    y0, y1, x0, x1 = Preprocess().box_in(*shape, Crop(box))
    shown = np.zeros(shape, dtype=bool)
    shown[y0:y1, x0:x1] = True
    return shown


def _outside(shape: tuple[int, int], box: Box) -> Array:
    return ~_lungs(shape, box)


# What is shown, bool (h, w), of a film of that shape whose lungs lie in that box.
REGIONS: dict[str, Callable[[tuple[int, int], Box], Array]] = {
    f"outer 1/{FRAME} frame alone": _border,
    "film outside the lungs alone": _outside,
    "lungs alone": _lungs,
}


def with_whole_films(checkpoint: Checkpoint) -> Checkpoint:
    """``checkpoint`` that does not crop, unless it sees lungs alone, to read films for :func:`predict_regions`."""
    if checkpoint.config.preprocess.crop == LUNGS:  # nothing else is ever shown to it
        return checkpoint
    preprocess = replace(checkpoint.config.preprocess, crop=None)
    return replace(checkpoint, config=replace(checkpoint.config, preprocess=preprocess))


def only(film: Array, shown: Array) -> Array:
    """``film`` uint8 (h, w) where ``shown`` bool (h, w); the mean of that elsewhere."""
    fill = np.rint(film[shown].mean()) if shown.any() else NOTHING
    return np.where(shown, film, np.uint8(fill))


@dataclass(frozen=True, kw_only=True)
class RegionReport(JsonRecord):
    """The figures of the same films with only one region of each left to see."""

    n: int
    patients: int
    errors: int | None = None
    confusion: tuple[tuple[int, int], tuple[int, int]] | None = None
    metrics: Estimates
    contrasts: dict[str, dict[str, LabelReport]] | None = None


@dataclass(frozen=True)
class RegionAblationReport(JsonRecord):
    """By region what the network makes of it alone, and the share of films on which the lungs were found."""

    lungs_found: float
    regions: dict[str, RegionReport]
    subset: str | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The regions lie beside the other keys."""
        regions = {name: value for name, value in values.items() if isinstance(value, Mapping)}
        return super().from_json({**values, "regions": regions})

    def to_json(self) -> dict[str, Any]:
        said = {"subset": self.subset} if self.subset else {}
        regions = {name: report.to_json() for name, report in self.regions.items()}
        return {**said, "lungs_found": self.lungs_found, **regions}


def outlines(gray: Array, seed: int = 0) -> Array:
    """Cut films uint8 (N, h, w), 0 outside the lungs, of which the outline alone is left.

    Every film shows the same picture inside its lungs: the mean of all films there, with a film's own graininess.
    """
    inside = gray > 0
    mean = gray.sum(0, dtype=np.float64) / np.maximum(inside.sum(0), 1)
    mean = np.where(inside.any(0), mean, gray[inside].mean())
    grain = np.random.default_rng(seed).normal(0, GRAIN, mean.shape)
    return np.where(inside, np.clip(np.rint(mean + grain), 1, 255), 0).astype(np.uint8)


def predict_regions(checkpoint: Checkpoint, films: Films, *, accelerator: Accelerator | None = None) -> Predictions:
    """The predictions of every region of REGIONS, one after another, with the columns "shown" and "lungs_found".

    ``films``: whole films (see :func:`with_whole_films`). Each is cropped as the checkpoint does, by what the crop
    would have been with nothing hidden. The lungs are those of `imaging.lungs`; where they are not found, the fixed
    crop of the Fordham report stands for them, and "lungs_found" is False. A checkpoint that sees lungs alone is shown
    their outline alone (see :func:`outlines`).
    """
    config, preprocess = checkpoint.config, checkpoint.config.preprocess
    if preprocess.crop == LUNGS:
        network = checkpoint.network.to(accelerator.device) if accelerator else checkpoint.network
        logits = predict_logits(network, outlines(np.asarray(films.gray)), preprocess, accelerator=accelerator)
        cut = [bool((film == 0).any()) for film in films.gray]
        return Predictions.of(
            films.table, logits, config.labels, config.operating_point, shown=OUTLINE, lungs_found=cut
        )
    lungs = [find_lungs(film) for film in films.gray]
    boxes = [one.box if one.found else FIXED_LUNGS for one in lungs]
    crops = [preprocess.crop_of(film, field) for film, field in zip(films.gray, lungs, strict=True)]
    network = checkpoint.network.to(accelerator.device) if accelerator else checkpoint.network
    frames = []
    for name, region in REGIONS.items():
        gray = np.stack(
            [
                preprocess.to_gray(only(film, region(film.shape, box)), crop)
                for film, box, crop in zip(films.gray, boxes, crops, strict=True)
            ]
        )
        logits = predict_logits(network, gray, preprocess, accelerator=accelerator)
        lungs_found = [one.found for one in lungs]
        predictions = Predictions.of(
            films.table, logits, config.labels, config.operating_point, shown=name, lungs_found=lungs_found
        )
        frames.append(predictions.frame)
    return Predictions(pd.concat(frames, ignore_index=True), config.labels, config.operating_point)


def measure_regions(
    predictions: Predictions, subset: str | None = None, *, resamples: int = RESAMPLES
) -> RegionAblationReport:
    """The figures of the predictions of :func:`predict_regions`, region by region."""
    shown, regions = predictions.frame["shown"], {}
    for name in dict.fromkeys(shown):
        of_region = predictions.select((shown == name).to_numpy())
        own = measure_predictions(of_region, resamples=resamples)
        regions[name] = RegionReport(
            n=own.n,
            patients=own.patients,
            errors=own.errors,
            confusion=own.confusion,
            metrics=own.metrics,
            contrasts=measure_contrasts(of_region, resamples=resamples),
        )
    return RegionAblationReport(float(predictions.frame["lungs_found"].mean()), regions, subset)


def write_regions(folder: Path, stem: str, predictions: Predictions, report: RegionAblationReport) -> None:
    """Write both beside the predictions and results of the whole films, as :func:`region_files` lists them."""
    predictions.write(folder / "predictions" / "shortcuts" / f"{stem}.parquet")
    report.write(folder / "results" / f"{stem}{SHORTCUTS}.json")


def region_files(folder: Path) -> list[tuple[Path, Path]]:
    """The (predictions, results) that a checkpoint ``folder`` holds."""
    parquets = sorted((folder / "predictions" / "shortcuts").glob("*.parquet"))
    return [(path, folder / "results" / f"{path.stem}{SHORTCUTS}.json") for path in parquets]
