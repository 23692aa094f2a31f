"""Pictures that are no frontal chest films, to learn from: from installed packages, parts of films, and drawn ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from hf_pneumo.evaluation.classification.ood import package_pictures
from hf_pneumo.imaging.reader import read_xray
from hf_pneumo.segmentation.samples import STORED, SUFFIXES, pattern, piece

__all__ = ["SUFFIXES", "make_other_pictures"]

PIECES = 7  # of every picture of a package
PATTERNS, PAGES, LIMBS, PARTS, SIDES = 90, 70, 110, 180, 120


def make_other_pictures(films: Sequence[np.ndarray], rng: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """Grey pictures uint8 by kind; parts and single sides are cut from the frontal ``films``."""
    packaged = {
        kind: [piece(rng, read_xray(path).gray8) for path in paths for _ in range(PIECES)]
        for kind, paths in package_pictures().items()
        if paths
    }
    drawn = [films[row] for row in rng.integers(len(films), size=PARTS + SIDES)]
    return packaged | {
        "patterns": [pattern(rng) for _ in range(PATTERNS)],
        "pages of text": [_page(rng) for _ in range(PAGES)],
        "drawn limbs": [_limbs(rng) for _ in range(LIMBS)],
        "parts of films": [_part(rng, film) for film in drawn[:PARTS]],
        "one side of a film": [_side(rng, film) for film in drawn[PARTS:]],
    }


def _part(rng: np.random.Generator, film: np.ndarray) -> np.ndarray:
    """A quarter to a half of a film's height and width."""
    share = rng.uniform(0.25, 0.5)
    height, width = (max(1, round(side * share)) for side in film.shape)
    top, left = rng.integers(0, (film.shape[0] - height + 1, film.shape[1] - width + 1))
    return film[top : top + height, left : left + width]


def _side(rng: np.random.Generator, film: np.ndarray) -> np.ndarray:
    """One lung alone in the middle of the picture, as on a lateral film."""
    middle = max(1, round(film.shape[1] * rng.uniform(0.42, 0.58)))
    return film[:, :middle] if rng.random() < 0.5 else film[:, middle:]


def _page(rng: np.random.Generator) -> np.ndarray:
    """Lines of letters, dark on white or white on black."""
    page = Image.new("L", (2 * STORED, 2 * STORED), 255)
    pen, size = ImageDraw.Draw(page), int(rng.integers(10, 26))
    for row in np.arange(rng.integers(40), 2 * STORED, size * rng.uniform(1.2, 2)):
        codes = np.where(rng.random(rng.integers(5, 70)) > 0.15, rng.integers(97, 123), 32)
        text = "".join(map(chr, codes))
        pen.text((int(rng.integers(30)), int(row)), text, fill=int(rng.integers(90)), font_size=size)
    gray = np.asarray(page.resize((STORED, STORED)))
    return 255 - gray if rng.random() < 0.4 else gray


def _limbs(rng: np.random.Generator) -> np.ndarray:
    """One to five fingers, arms or legs: soft tissue around bones with bright walls and gaps for joints, on black."""
    y, x = np.mgrid[0:STORED, 0:STORED] / STORED - 0.5
    turn = rng.uniform(-0.5, 0.5) + (np.pi / 2 if rng.random() < 0.3 else 0)
    across = x * np.cos(turn) + y * np.sin(turn) - rng.uniform(-0.15, 0.15)
    along = y * np.cos(turn) - x * np.sin(turn)
    count, width = int(rng.integers(1, 6)), rng.uniform(0.08, 0.3)
    shadow = np.zeros_like(x)
    for index in range(count):
        centre = (index - (count - 1) / 2) * rng.uniform(1.2, 2.2) * width
        out = np.abs(across - centre - rng.uniform(-0.3, 0.3) * along) / (width * (1 + rng.uniform(-0.5, 0.8) * along))
        shadow += 0.35 * np.sqrt(np.clip(1 - out**2, 0, 1))
        joints = np.abs(np.sin((along + rng.uniform()) * np.pi / rng.uniform(0.05, 0.4)))
        radius = out / (rng.uniform(0.25, 0.6) * (1 + 0.35 * joints))
        wall = 0.25 + 0.5 * np.clip(radius, 0, 1) ** 4
        shadow += np.where((radius < 1) & (joints > 0.08), wall, 0)
    shadow = ndimage.gaussian_filter(shadow, rng.uniform(0.5, 2)) + 0.02 * rng.standard_normal(shadow.shape)
    shadow = (shadow - shadow.min()) / np.ptp(shadow)
    return np.rint(255 * shadow ** rng.uniform(0.6, 1.4)).astype(np.uint8)
