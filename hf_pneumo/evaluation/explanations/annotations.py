"""Films with radiologists' boxes or masks, read for a network and for the measurement."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hf_pneumo.evaluation.explanations.localization import FRAME, box_mask
from hf_pneumo.imaging.lungs import find_lungs
from hf_pneumo.imaging.phantom import phantoms
from hf_pneumo.imaging.preprocess import Crop, Preprocess
from hf_pneumo.imaging.reader import XrayReadError, read_xray
from hf_pneumo.models.tensors import to_tensor

logger = logging.getLogger(__name__)

FRESH_SEED = 7  # the source phantom[:n] draws from seed 0


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
        return ReadFilms(
            films=tuple(compress(self.films, keep)),
            images=self.images[torch.from_numpy(keep)],
            truths=self.truths[keep],
            lungs=self.lungs[keep],
            crops=tuple(compress(self.crops, keep)),
        )


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
            x, y, w, h = (float(row[name]) for name in ("x", "y", "w", "h"))
        except ValueError as error:
            raise ValueError(f"`{path}` line {line}: x, y, w, h must be numbers ({error}).") from error
        if w <= 0 or h <= 0:
            raise ValueError(f"`{path}` line {line}: a box of {w} x {h} pixels; w and h must be positive.")
        boxes.append((x, y, w, h))
    if not found:
        raise ValueError(f"`{path}` holds no boxes" + (f" of source {source!r}." if source else "."))
    return found


def phantom_films(count: int, folder: Path) -> list[BoxedFilm]:
    """``count`` phantoms, half of them with opacities, drawn into ``folder`` as PNG files; each its own patient.

    None of them is among those of the source ``phantom[:n]``, so that what was trained on those has never seen them.
    """
    films = []
    for number, phantom in enumerate(phantoms(count, seed=FRESH_SEED, size=FRAME)):
        path = folder / f"phantom-{number:05d}.png"
        Image.fromarray(phantom.film.gray8).save(path)
        films.append(BoxedFilm(path, path.stem, tuple(phantom.boxes)))
    return films


def read_films(films: Sequence[BoxedFilm], preprocess: Preprocess) -> ReadFilms:
    """Read and preprocess films; a film that cannot be read is logged with its reason and left out."""
    kept, grays, truths, lungs, crops = [], [], [], [], []
    frame = (FRAME, FRAME)
    for film in films:
        try:
            pixels = read_xray(film.path).pixels
            truth = mask_file(film.mask, frame) if film.mask else box_mask(film.boxes, pixels.shape, frame)
        except XrayReadError as error:
            logger.warning("left out: %s", error)
            continue
        kept.append(film)
        lung_field = find_lungs(pixels)
        crops.append(preprocess.crop_of(pixels, lung_field))
        grays.append(preprocess.to_gray(pixels, crops[-1]))
        truths.append(truth)
        lungs.append(lung_field.mask(*frame))
    if not kept:
        raise ValueError("`films`: none of them could be read; the log says why.")
    # Half the time on a CPU's convolutions.
    images = to_tensor(preprocess, np.stack(grays)).contiguous(memory_format=torch.channels_last)
    return ReadFilms(tuple(kept), images, np.stack(truths), np.stack(lungs), tuple(crops))


def mask_file(path: Path, frame: tuple[int, int]) -> np.ndarray:
    """A mask picture, whatever is not black being the finding, in the frame: bool (h, w)."""
    pixels = read_xray(path).pixels > 0
    rows, columns = (
        np.minimum(((np.arange(side) + 0.5) * length / side).astype(int), length - 1)
        for side, length in zip(frame, pixels.shape, strict=True)
    )
    return pixels[np.ix_(rows, columns)]
