"""Films with radiologists' boxes or masks, explained by a checkpoint and measured: the localization table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.evaluation.bootstrap import RESAMPLES
from hf_pneumo.evaluation.explanations import faithfulness
from hf_pneumo.evaluation.explanations import localization as loc
from hf_pneumo.evaluation.explanations.annotations import BoxedFilm, ReadFilms, mask_file, read_films
from hf_pneumo.evaluation.explanations.variants import DEFAULT, PLAIN, Variant, titled
from hf_pneumo.explain import explain, methods, within_lungs
from hf_pneumo.imaging.preprocess import Crop
from hf_pneumo.models.checkpoint import Checkpoint
from hf_pneumo.models.config import CheckpointConfig
from hf_pneumo.models.inference import answer
from hf_pneumo.models.map_recipe import MapRecipe
from hf_pneumo.models.training_record import TrainingRecord

COMPARED = ("centre", "prior", "lungs")  # baselines that every map is compared with film by film


def default_target(labels: LabelSet) -> str:
    """What to explain: the finding where it is a label, else everything but normal."""
    finding = labels.score_names[0]
    return finding if finding in labels.names else f"not {labels.normal}"


def reading_options(config: CheckpointConfig, method: str) -> dict[str, Any]:
    """What `explain` is to be told of the checkpoint's network: the layer that is read, and where its cells look."""
    named = config.cam_layer and methods()[method].accepts("layer")
    return ({"layer": config.cam_layer} if named else {}) | {"offset": config.cam_offset}


def explain_films(
    checkpoint: Checkpoint,
    images: torch.Tensor,
    method: str,
    *,
    crops: Sequence[Crop] | None = None,
    target: str | None = None,
    smoothing: str = "none",
    batch_size: int = 8,
    progress: Callable[[float], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Maps in the frame that covers the whole film (N, FRAME, FRAME), and logits (N, K).

    ``crops``: what part of each film its image shows; may be left out where all films share one.
    """
    config = checkpoint.config
    found = explain(
        checkpoint.network,
        images,
        method=method,
        target=target or default_target(config.labels),
        smoothing=smoothing,
        batch_size=batch_size,
        progress=progress,
        **reading_options(config, method),
    )
    frame = (loc.FRAME, loc.FRAME)
    places: Sequence[Crop | None] = crops if crops else [None] * len(found)
    maps = np.stack([config.preprocess.to_original(m.heatmap, frame, c) for m, c in zip(found, places, strict=True)])
    return maps, np.stack([one.logits for one in found])


def recipe_maps(
    checkpoint: Checkpoint, recipe: MapRecipe, films: Sequence[BoxedFilm], *, batch_size: int = 8
) -> tuple[np.ndarray, np.ndarray, ReadFilms]:
    """The checkpoint's default maps in the frame that covers the whole film (N, FRAME, FRAME), its verdicts (N,) bool
    at its own input size, and the films as read for the largest input of the maps."""
    preprocess = checkpoint.config.preprocess
    side = max(recipe.sizes or preprocess.size)
    read = own = read_films(films, preprocess)
    if side != max(preprocess.size):
        read = read_films(films, replace(preprocess, size=(side, side)))
    with torch.inference_mode():
        logits = [answer(checkpoint.network, x, mirror=preprocess.mirror) for x in own.images.split(batch_size)]
    target = recipe.target or default_target(checkpoint.config.labels)
    found = explain(
        checkpoint.network, read.images, method=recipe.method, target=target, batch_size=batch_size, **recipe.options
    )
    frame = (loc.FRAME, loc.FRAME)
    maps = np.stack([preprocess.to_original(m.heatmap, frame, crop) for m, crop in zip(found, read.crops, strict=True)])
    if recipe.within_lungs:
        shown = zip(maps, read.lungs, read.crops, strict=True)
        maps = np.stack([within_lungs(m, lungs if crop.lungs is None else crop.lungs) for m, lungs, crop in shown])
    return maps, called_positive(checkpoint, torch.cat(logits).numpy()), read


def called_positive(checkpoint: Checkpoint, logits: np.ndarray) -> np.ndarray:
    """Whether the verdict on the first score is positive at the checkpoint's threshold: bool (N,)."""
    point = checkpoint.config.operating_point
    return checkpoint.config.labels.scores(logits, point.temperature)[:, 0] >= point.thresholds[0]


def baseline_maps(read: ReadFilms, lungs: Callable[[BoxedFilm], Path | None] | None = None) -> dict[str, np.ndarray]:
    """Maps that know nothing of the disease: noise, the centre, the other patients' boxes, and the film's lung fields
    as they are found; those of mask files too, where `lungs` gives one for every film."""
    frame, count = (loc.FRAME, loc.FRAME), len(read.films)
    found = {
        "random": loc.random_maps(count, frame),
        "centre": np.broadcast_to(loc.centred_gaussian(frame), (count, *frame)),
        "prior": loc.others_mean(read.truths, read.patients),
        "lungs": read.lungs.astype(np.float32),
    }
    files = [file for film in read.films if (file := lungs(film))] if lungs else []
    if files and len(files) == count:
        found["lung masks"] = np.stack([mask_file(file, frame) for file in files]).astype(np.float32)
    return found


def measure_localization(
    checkpoint: Checkpoint,
    films: Sequence[BoxedFilm],
    names: Sequence[str],
    *,
    variants: Sequence[str] = (),
    target: str | None = None,
    smoothing: str = "none",
    batch_size: int = 8,
    resamples: int = RESAMPLES,
    lungs: Callable[[BoxedFilm], Path | None] | None = None,
    progress: Callable[[str, float], None] | None = None,
    source: str | None = None,
) -> loc.LocalizationReport:
    """Every method and every baseline on the same films; each method also beside the mean of its own maps.

    Films with boxes or masks are where it is measured; films without are where it should show nothing. "methods" holds
    the plain maps, "variants" the other ways of making them that are asked for (see `variants`), by name.
    "agreement" is the rank correlation of the methods' plain maps. ``source``: who drew the boxes.
    """
    wanted = dict.fromkeys(Variant.parse(name) for name in (PLAIN, *variants))
    asked = {view: view.checkpoint(checkpoint) for view in dict.fromkeys(variant.view for variant in wanted)}
    entries: dict[str, dict[str, loc.MethodMapReport]] = {variant.name: {} for variant in wanted}
    baselines: dict[str, np.ndarray] = {}
    compared: dict[str, np.ndarray] = {}
    for view, altered in asked.items():
        read = read_films(films, altered.config.preprocess)
        boxed = read.select(read.positive)
        if not boxed.films:
            raise ValueError("`films`: none of them has a box or a mask, so there is nothing to measure against.")
        baselines = baselines or baseline_maps(boxed, lungs)
        for name in names:
            maps, logits = explain_films(
                altered,
                read.images,
                name,
                crops=read.crops,
                target=target,
                smoothing=view.smoothing or smoothing,
                batch_size=batch_size,
                progress=partial(progress, titled(name, view.name)) if progress else None,
            )
            called = called_positive(altered, logits)
            for variant in wanted:
                if variant.view == view:
                    shown = variant.show(maps, read.lungs)
                    entries[variant.name][name] = _measure(shown, called, read, baselines, resamples)
            if view.name == PLAIN:
                compared[name] = maps[read.positive][:, 2::4, 2::4]  # every fourth pixel: finer than any CAM's grid
    figures = {
        name: loc.measure_maps(maps, boxed.truths, boxed.patients, resamples=resamples)
        for name, maps in baselines.items()
    }
    if recipe := checkpoint.config.map:
        maps, called, read = recipe_maps(checkpoint, recipe, films, batch_size=batch_size)
        entries[DEFAULT] = {recipe.method: _measure(maps, called, read, baselines, resamples)}
    plain, training = entries.pop(PLAIN), checkpoint.config.training
    return loc.LocalizationReport(
        methods=plain,
        baselines=figures,
        baseline_groups={name: _by_group(maps, boxed, resamples) for name, maps in baselines.items()},
        agreement=faithfulness.agreement(compared),
        variants=entries or None,
        checkpoint=checkpoint.name,
        revision=checkpoint.revision,
        architecture=checkpoint.config.architecture,
        training=TrainingRecord(
            command=training.command, initial_weights=training.initial_weights, teacher=training.teacher
        ),
        frame=loc.FRAME,
        tolerance=loc.TOLERANCE,
        source=source,
        smoothing=smoothing,
        target=target,
    )


def _measure(
    maps: np.ndarray, called: np.ndarray, read: ReadFilms, baselines: dict[str, np.ndarray], resamples: int
) -> loc.MethodMapReport:
    """One row of the table: maps (N, FRAME, FRAME) and verdicts (N,) of all films, with and without the finding."""
    positive = read.positive
    boxed, normal = read.select(positive), read.select(~positive)
    figures = loc.measure_maps(maps[positive], boxed.truths, boxed.patients, resamples=resamples)
    average = np.broadcast_to(loc.mean_map(maps[positive]), boxed.truths.shape)
    cut = float(np.mean(figures.thresholds))
    return loc.MethodMapReport(
        **vars(figures),
        over={
            name: loc.paired_difference(
                maps[positive], baselines[name], boxed.truths, boxed.patients, resamples=resamples
            )
            for name in COMPARED
        },
        mean_map=loc.measure_maps(average, boxed.truths, boxed.patients, resamples=resamples),
        groups=_by_group(maps[positive], boxed, resamples),
        called_positive=float(called[positive].mean()),
        normal=loc.false_activation(maps[~positive], called[~positive], normal.patients, cut, resamples=resamples)
        if len(normal.films)
        else None,
    )


def _by_group(maps: np.ndarray, read: ReadFilms, resamples: int) -> dict[str, loc.GroupMapReport]:
    """The main figures by group, such as the view, where groups are known."""
    groups = np.array([film.group for film in read.films])
    reports = {}
    for name in sorted(set(groups) - {""}):
        rows = np.flatnonzero(groups == name)
        patients = [read.patients[row] for row in rows]
        figures = loc.measure_maps(maps[rows], read.truths[rows], patients, resamples=resamples)
        reports[name] = loc.GroupMapReport(
            films=figures.films,
            pointing=figures.pointing,
            hit_rate=figures.hit_rate,
            pixel_auprc=figures.pixel_auprc,
            iou=figures.iou,
        )
    return reports
