"""Films with their lungs: drawn masks, machine masks, phantoms, pictures without lungs, and the network's own masks."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.morphology import convex_hull_image

from hf_pneumo.imaging.lungs import find_lungs
from hf_pneumo.imaging.phantom import phantoms
from hf_pneumo.imaging.reader import read_xray

logger = logging.getLogger(__name__)

STORED = 192  # pixels a side at which films are held for training, squashed
MACHINE_WEIGHT = 0.5  # of machine masks and the network's own against drawn ones
PHANTOM_WEIGHT, BLANK_WEIGHT = 0.3, 0.15
LIST, FILMS, MASKS = "masks.csv", "images", "masks"
SUFFIXES = (".jpg", ".jpeg", ".png")
# Of the network's own masks these are learnt from: confident, and two lungs alike in size, apex and base. One white
# lung fails that on purpose: what is learnt about those comes from painting healthy lungs white.
SURE, ALIKE, LEVEL = 0.95, 0.65, 0.1


@dataclass(frozen=True, eq=False)
class Samples:
    """N films with masks.

    films: uint8 (N, S, S). lungs: bool (N, S, S). trusted: bool (N, S, S), where the mask is to be believed. weight:
    float (N,), how often a film is drawn. patients: one name each. names: the films' file names.
    """

    films: np.ndarray
    lungs: np.ndarray
    trusted: np.ndarray
    weight: np.ndarray
    patients: np.ndarray
    names: np.ndarray

    def __len__(self) -> int:
        return len(self.films)

    def select(self, rows: np.ndarray) -> Samples:
        """The films of ``rows``: indices or bool (N,)."""
        return Samples(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def join(parts: Iterable[Samples]) -> Samples:
    """All films of ``parts`` in one collection."""
    parts = list(parts)
    return Samples(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Samples)})


def drawn_masks(folder: str | os.PathLike[str]) -> Samples:
    """Films of ``folder``/images with annotators' masks of the same stem in ``folder``/masks, listed in masks.csv.

    The list has the columns name and patient. Raises ValueError for a folder without it, OSError for missing files.
    """
    folder = Path(folder)
    if not (folder / LIST).is_file():
        raise ValueError(f"`masks` {str(folder)!r} has no {LIST}; give a folder with {LIST}, {FILMS}/ and {MASKS}/")
    with (folder / LIST).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or {"name", "patient"} - set(rows[0]):
        raise ValueError(f"{folder / LIST} must list films in the columns name and patient")
    films = [_film(_named(folder / FILMS, row["name"])) for row in rows]
    lungs = [_mask(_named(folder / MASKS, row["name"])) for row in rows]
    return _samples(films, lungs, [row["patient"] for row in rows], [row["name"] for row in rows])


def machine_masks(folder: str | os.PathLike[str], films: str | os.PathLike[str]) -> Samples:
    """Films of the folder ``films`` with another network's masks of the same stem in ``folder``, at half weight.

    Such masks leave opacities out. Two largest parts, holes filled; what lies in a part's convex hull without being in
    the mask is disputed: nothing is learnt there. The patient is the file name up to its first "_", as at NIH.
    """
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix in SUFFIXES)
    if not paths:
        raise ValueError(f"`extra` {str(folder)!r} holds no mask; give a folder of PNG files")
    lungs, trusted = zip(*(_mended(_mask(path)) for path in paths), strict=True)
    samples = _samples(
        [_film(_named(Path(films), path.stem)) for path in paths],
        lungs,
        [path.stem.partition("_")[0] for path in paths],
        [path.stem for path in paths],
        weight=MACHINE_WEIGHT,
    )
    return _replaced(samples, trusted=np.stack(trusted))


def drawn_phantoms(count: int, seed: int) -> Samples:
    """``count`` phantoms with their lungs, which leave the heart out."""
    drawn = list(phantoms(count, seed=seed, size=STORED))
    films = [np.rint(phantom.pixels * 255).astype(np.uint8) for phantom in drawn]
    names = [f"phantom{seed}-{i}" for i in range(count)]
    return _samples(films, [phantom.lungs for phantom in drawn], names, names, weight=PHANTOM_WEIGHT)


def blanks(pictures: Sequence[np.ndarray], count: int, seed: int) -> Samples:
    """Pictures that hold no lungs: ``count`` patterns of noise, ramps, bars and letters, and pieces of ``pictures``."""
    rng = np.random.default_rng(seed)
    films = [pattern(rng) for _ in range(count)]
    films += [piece(rng, pictures[int(rng.integers(len(pictures)))]) for _ in range(count if len(pictures) else 0)]
    names = [f"blank{i}" for i in range(len(films))]
    return _samples(films, [np.zeros((STORED, STORED), bool)] * len(films), names, names, weight=BLANK_WEIGHT)


def own_masks(paths: Sequence[Path], count: int, seed: int, find: Callable = find_lungs) -> Samples:
    """``count`` of the films ``paths``, drawn at random, with such masks by ``find`` as are learnt from; half weight.

    The others are passed over (see SURE), so fewer may come back; ValueError for none.
    """
    films, lungs, names = [], [], []
    for index in np.random.default_rng(seed).permutation(len(paths)):
        film = _film(paths[index])
        field = find(film)
        mask = field.mask(STORED, STORED)
        if field.found and field.confidence >= SURE and _is_pair(mask):
            films.append(film)
            lungs.append(mask)
            names.append(paths[index].stem)
        if len(films) == count:
            break
    logger.info("the network's own masks: %d films", len(films))
    if not films:
        raise ValueError("`films` holds no film of whose lungs the network is sure; leave `films` out")
    return _samples(films, lungs, names, names, weight=MACHINE_WEIGHT)


def _is_pair(mask: np.ndarray) -> bool:
    """Whether a mask is two parts of like size whose upper and whose lower ends are at like heights."""
    parts, count = ndimage.label(mask)
    if count != 2:
        return False
    sizes = np.bincount(parts.ravel())[1:]
    tops, bottoms = zip(*((rows.start, rows.stop) for rows, _ in ndimage.find_objects(parts)), strict=True)
    return sizes.min() >= ALIKE * sizes.max() and max(np.ptp(tops), np.ptp(bottoms)) <= LEVEL * len(mask)


def _samples(films, lungs, patients, names, weight: float = 1.0) -> Samples:
    lungs = np.stack(lungs)
    return Samples(
        np.stack(films),
        lungs,
        np.ones_like(lungs),
        np.full(len(lungs), weight, np.float32),
        np.asarray(patients, dtype=str),
        np.asarray(names, dtype=str),
    )


def _replaced(samples: Samples, **changes: np.ndarray) -> Samples:
    return Samples(**{**{field.name: getattr(samples, field.name) for field in fields(samples)}, **changes})


def _named(folder: Path, stem: str) -> Path:
    for suffix in SUFFIXES:
        if (path := folder / f"{stem}{suffix}").is_file():
            return path
    raise FileNotFoundError(f"{folder} has no {stem} as {', '.join(SUFFIXES)}")


def _squashed(values: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(values).resize((STORED, STORED), Image.Resampling.BILINEAR))


def _film(path: Path) -> np.ndarray:
    return _squashed(read_xray(path).gray8)


def _mask(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return _squashed(np.asarray(image.convert("L"))) > 127


def _mended(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A machine mask without islands and holes, and where it is to be believed."""
    parts, count = ndimage.label(mask)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    lungs, disputed = np.zeros_like(mask), np.zeros_like(mask)
    for part in np.argsort(sizes)[-2:] + 1:
        lung = ndimage.binary_fill_holes(parts == part)
        lungs |= lung
        disputed |= convex_hull_image(lung)
    return lungs, ~(disputed & ~lungs)


def pattern(rng: np.random.Generator) -> np.ndarray:
    """Smoothed noise, a ramp, bars, or letters on an even ground."""
    kind = rng.integers(4)
    y, x = np.mgrid[0:STORED, 0:STORED] / STORED
    if kind == 0:
        field = ndimage.gaussian_filter(rng.standard_normal((STORED, STORED)), STORED * rng.uniform(0, 0.15) ** 2)
    elif kind == 1:
        field = rng.normal() * x + rng.normal() * y + 0.02 * rng.standard_normal((STORED, STORED))
    elif kind == 2:
        turn = rng.uniform(0, np.pi)
        field = np.sin((x * np.cos(turn) + y * np.sin(turn)) * rng.uniform(5, 60) + rng.uniform(0, 6))
    else:
        field = np.zeros((STORED, STORED))
        for _ in range(rng.integers(1, 30)):
            top, left, height, width = rng.integers(0, STORED - 40, 2).tolist() + rng.integers(3, 60, 2).tolist()
            field[top : top + height, left : left + width] = rng.uniform(-1, 1)
    field = (field - field.min()) / (np.ptp(field) + 1e-9)
    return np.rint(255 * (rng.uniform(0, 0.3) + rng.uniform(0.1, 0.7) * field)).astype(np.uint8)


def piece(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """A random half or more of a picture, turned by right angles and perhaps inverted."""
    share = rng.uniform(0.5, 1)
    height, width = (round(side * share) for side in picture.shape)
    top, left = rng.integers(0, (picture.shape[0] - height + 1, picture.shape[1] - width + 1))
    turned = np.rot90(picture[top : top + height, left : left + width], int(rng.integers(4)))
    return _squashed(np.ascontiguousarray(255 - turned if rng.random() < 0.3 else turned))
