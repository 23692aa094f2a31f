"""Films with radiologists' boxes or masks, explained by a checkpoint and measured: the localization table."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.evaluation.explanations import faithfulness
from hf_pneumo.evaluation.explanations import localization as loc
from hf_pneumo.evaluation.explanations.variants import PLAIN, Variant, legend, titled
from hf_pneumo.explain import explain, methods
from hf_pneumo.imaging.lungs import find_lungs
from hf_pneumo.imaging.phantom import phantoms
from hf_pneumo.imaging.preprocess import Crop
from hf_pneumo.imaging.reader import XrayReadError, read_xray
from hf_pneumo.models.checkpoint import Checkpoint, CheckpointConfig

logger = logging.getLogger(__name__)


FRESH_SEED = 7  # the source phantom[:n] draws from seed 0
COMPARED = ("centre", "lungs")  # baselines that every map is compared with film by film


@dataclass(frozen=True)
class BoxedFilm:
    """One film: its file, its patient, its boxes (x, y, w, h) in image pixels or its mask's file, and a group such as
    the view. A film with neither boxes nor mask is free of the finding."""

    path: Path
    patient: str
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    mask: Path | None = None
    group: str = ""

    @property
    def positive(self) -> bool:
        return bool(self.boxes) or self.mask is not None


@dataclass(frozen=True)
class ReadFilms:
    """Films as the network and the measurement need them: input (N, 3, h, w), truths and lung fields (N, FRAME, FRAME)
    bool, and what part of each film the input shows."""

    films: tuple[BoxedFilm, ...]
    images: torch.Tensor
    truths: np.ndarray
    lungs: np.ndarray
    crops: tuple[Crop, ...]

    @property
    def patients(self) -> list[str]:
        return [film.patient for film in self.films]

    @property
    def positive(self) -> np.ndarray:
        return np.array([film.positive for film in self.films])

    def select(self, keep: np.ndarray) -> ReadFilms:
        """The films where `keep` (N,) bool is true."""
        films, crops = (tuple(compress(rows, keep)) for rows in (self.films, self.crops))
        return ReadFilms(films, self.images[torch.from_numpy(keep)], self.truths[keep], self.lungs[keep], crops)


def read_table(path: str | Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV file. Raises ValueError when it lacks a needed column."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [name for name in needed if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"`{path}` lacks the column {missing[0]!r}; it has {', '.join(reader.fieldnames or ())}.")
        return list(reader)


def boxes_by_image(path: str | Path, source: str | None = None) -> dict[str, list[tuple[float, float, float, float]]]:
    """A table with columns image, x, y, w, h (and source) to the boxes of each image, in its pixels.

    A row with an empty x names a film without boxes. `source` keeps one source's rows only.
    """
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    needed = ["image", "x", "y", "w", "h", *(["source"] if source else [])]
    for line, row in enumerate(read_table(path, needed), start=2):
        if source and row["source"] != source:
            continue
        boxes = found.setdefault(row["image"], [])
        if not row["x"]:
            continue
        try:
            box = tuple(float(row[name]) for name in ("x", "y", "w", "h"))
        except ValueError as error:
            raise ValueError(f"`{path}` line {line}: x, y, w, h must be numbers ({error}).") from error
        if box[2] <= 0 or box[3] <= 0:
            raise ValueError(f"`{path}` line {line}: a box of {box[2]} x {box[3]} pixels; w and h must be positive.")
        boxes.append(box)
    if not found:
        raise ValueError(f"`{path}` holds no boxes" + (f" of source {source!r}." if source else "."))
    return found


def phantom_films(count: int, folder: Path) -> list[BoxedFilm]:
    """``count`` phantoms, half of them with opacities, drawn into ``folder`` as PNG files; each its own patient.

    None of them is among those of the source ``phantom[:n]``, so that what was trained on those has never seen them.
    """
    films = []
    for number, phantom in enumerate(phantoms(count, seed=FRESH_SEED, size=loc.FRAME)):
        path = folder / f"phantom-{number:05d}.png"
        Image.fromarray(phantom.film.gray8).save(path)
        films.append(BoxedFilm(path, path.stem, tuple(phantom.boxes)))
    return films


def read_films(films: Sequence[BoxedFilm], checkpoint: Checkpoint) -> ReadFilms:
    """Read and preprocess films; a film that cannot be read is logged with its reason and left out."""
    preprocess = checkpoint.config.preprocess
    kept, grays, truths, lungs, crops = [], [], [], [], []
    frame = (loc.FRAME, loc.FRAME)
    for film in films:
        try:
            pixels = read_xray(film.path).pixels
            truth = _mask_file(film.mask, frame) if film.mask else loc.box_mask(film.boxes, pixels.shape, frame)
        except XrayReadError as error:
            logger.warning("left out: %s", error)
            continue
        kept.append(film)
        crops.append(preprocess.crop_of(pixels))
        grays.append(preprocess.to_gray(pixels, crops[-1]))
        truths.append(truth)
        lungs.append(find_lungs(pixels).mask(*frame))
    if not kept:
        raise ValueError("`films`: none of them could be read; the log says why.")
    # Half the time on a CPU's convolutions.
    images = preprocess.to_tensor(np.stack(grays)).contiguous(memory_format=torch.channels_last)
    return ReadFilms(tuple(kept), images, np.stack(truths), np.stack(lungs), tuple(crops))


def _mask_file(path: Path, frame: tuple[int, int]) -> np.ndarray:
    """A mask picture, whatever is not black being the finding, in the frame: bool (h, w)."""
    pixels = read_xray(path).pixels > 0
    rows, columns = (
        np.minimum(((np.arange(side) + 0.5) * length / side).astype(int), length - 1)
        for side, length in zip(frame, pixels.shape, strict=True)
    )
    return pixels[np.ix_(rows, columns)]


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
    places = crops or [None] * len(found)
    maps = np.stack([config.preprocess.to_original(m.heatmap, frame, c) for m, c in zip(found, places, strict=True)])
    return maps, np.stack([one.logits for one in found])


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
    files = [lungs(film) for film in read.films] if lungs else []
    if files and all(files):
        found["lung masks"] = np.stack([_mask_file(file, frame) for file in files]).astype(np.float32)
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
    resamples: int = loc.RESAMPLES,
    lungs: Callable[[BoxedFilm], Path | None] | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, Any]:
    """Every method and every baseline on the same films, JSON-ready; each method also beside the mean of its own maps.

    Films with boxes or masks are where it is measured; films without are where it should show nothing. "methods" holds
    the plain maps, "variants" the other ways of making them that are asked for (see `variants`), by name.
    "agreement" is the rank correlation of the methods' plain maps.
    """
    wanted = dict.fromkeys(Variant.parse(name) for name in (PLAIN, *variants))
    asked = {view: view.checkpoint(checkpoint) for view in dict.fromkeys(variant.view for variant in wanted)}
    entries: dict[str, dict[str, Any]] = {variant.name: {} for variant in wanted}
    baselines: dict[str, np.ndarray] = {}
    compared: dict[str, np.ndarray] = {}
    for view, altered in asked.items():
        read = read_films(films, altered)
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
    plain = entries.pop(PLAIN)
    report = {"methods": plain, "baselines": figures, "agreement": faithfulness.agreement(compared)}
    return report | ({"variants": entries} if entries else {})


def _measure(
    maps: np.ndarray, called: np.ndarray, read: ReadFilms, baselines: dict[str, np.ndarray], resamples: int
) -> dict[str, Any]:
    """One row of the table: maps (N, FRAME, FRAME) and verdicts (N,) of all films, with and without the finding."""
    positive = read.positive
    boxed, normal = read.select(positive), read.select(~positive)
    entry = loc.measure_maps(maps[positive], boxed.truths, boxed.patients, resamples=resamples)
    entry["over"] = {
        name: loc.paired_difference(
            maps[positive], baselines[name], boxed.truths, boxed.patients, resamples=resamples
        )
        for name in COMPARED
    }
    average = np.broadcast_to(loc.mean_map(maps[positive]), boxed.truths.shape)
    entry["mean_map"] = loc.measure_maps(average, boxed.truths, boxed.patients, resamples=resamples)
    entry["groups"] = _by_group(maps[positive], boxed, resamples)
    entry["called_positive"] = float(called[positive].mean())
    if len(normal.films):
        cut = float(np.mean(entry["thresholds"]))
        entry["normal"] = loc.false_activation(
            maps[~positive], called[~positive], normal.patients, cut, resamples=resamples
        )
    return entry


def _by_group(maps: np.ndarray, read: ReadFilms, resamples: int) -> dict[str, Any]:
    """The main figures by group, such as the view, where groups are known."""
    groups = np.array([film.group for film in read.films])
    found = {}
    for name in sorted(set(groups) - {""}):
        rows = np.flatnonzero(groups == name)
        ids = [read.patients[row] for row in rows]
        figures = loc.measure_maps(maps[rows], read.truths[rows], ids, resamples=resamples)
        found[name] = {key: figures[key] for key in ("films", "pointing", "hit_rate", "pixel_auprc", "iou")}
    return found


def localization_table(report: dict[str, Any], *, refined: Collection[str] | None = None) -> str:
    """The report as a Markdown table: plain maps, variants (explained below it), baselines.

    "*" marks a pointing figure that is not above the centre's. ``refined``: the methods whose variants are shown; None
    shows all.
    """
    header = "| map | pointing | over the centre | hit rate | pixel AUPRC | pooled AUPRC | IoU | T(IoU) .1 | energy |"
    lines = [header, "|---" * 9 + "|"]
    centre = report["baselines"]["centre"]["pointing"]["value"]
    variants = report.get("variants", {})
    for variant, entries in {PLAIN: report["methods"], **variants}.items():
        for name, entry in entries.items():
            if refined is not None and variant != PLAIN and name not in refined:
                continue
            above = entry["pointing"]["value"] > centre
            lines.append(_row(titled(name, variant) + ("" if above else " *"), entry))
    lines += [_row(f"_{name}_", entry) for name, entry in report["baselines"].items()]
    return "\n".join([*lines, *(["", legend(list(variants))] if variants else [])]) + "\n"


def _row(name: str, entry: dict[str, Any]) -> str:
    figures = [entry[key] for key in ("pointing", "hit_rate", "pixel_auprc", "pixel_auprc_pooled", "iou")]
    figures += [entry["iou_accuracy"]["0.1"], entry["energy"]]
    pointing, *others = (f"{one['value']:.2f} ({one['low']:.2f}-{one['high']:.2f})" for one in figures)
    difference = over_centre(entry) if "over" in entry else ""
    return f"| {name} | " + " | ".join([pointing, difference, *others]) + " |"


def over_centre(entry: dict[str, Any]) -> str:
    """By how much a method points better than the film's centre, film by film, with its interval."""
    found = entry["over"]["centre"]["pointing"]
    return f"{found['value']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f})"
