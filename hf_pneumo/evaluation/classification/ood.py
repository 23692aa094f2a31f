"""The out-of-distribution check: fitted on training films, its threshold on validation films, measured on what is none.

Measured on test films that were turned, inverted or cut to a piece, and on real pictures of other things: photographs
and medical pictures that installed packages bring along, so that anyone can repeat it without a download.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from hf_pneumo.data.film_cache import Films
from hf_pneumo.evaluation.bootstrap import RESAMPLES
from hf_pneumo.evaluation.classification.conformal import conformal_quantile
from hf_pneumo.evaluation.classification.metrics import METRICS, measure
from hf_pneumo.evaluation.estimate import Estimate
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.imaging.reader import XrayReadError, read_xray
from hf_pneumo.models.ood_detector import FilmDensity, thumbnails
from hf_pneumo.records import JsonRecord

PASSING = 0.99  # share of films like the validation films that the check lets pass
ENOUGH = 60  # training films: of real ones, 60 call none of 400 others turned or inverted, 36 do
FILMS, SEED = 1000, 0  # training films that the density is fitted on, at most
SUSPECT = np.nextafter(0, 1)  # the smallest score of a suspect picture

# Files of packages that this project needs anyway.
PICTURES: dict[str, dict[str, tuple[str, ...]]] = {
    "photographs": {
        "skimage/data": (
            "astronaut.png", "brick.png", "camera.png", "chelsea.png", "clock_motion.png", "coffee.png", "coins.png",
            "color.png", "grass.png", "gravel.png", "horse.png", "hubble_deep_field.jpg", "moon.png",
            "motorcycle_left.png", "page.png", "rocket.jpg", "text.png",
        ),
        "sklearn/datasets/images": ("china.jpg", "flower.jpg"),
        "matplotlib/mpl-data/sample_data": ("grace_hopper.jpg",),
        "gradio/media_assets/images": ("cheetah1.jpg", "groot.jpeg", "lion.jpg", "tower.jpg"),
    },
    "medical pictures that are no radiographs": {
        "skimage/data": ("cell.png", "ihc.png", "microaneurysms.png", "phantom.png", "retina.jpg"),
        "pydicom/data/test_files": (
            "693_J2KI.dcm", "CT_small.dcm", "ExplVR_BigEnd.dcm", "J2K_pixelrep_mismatch.dcm", "JPEG2000.dcm",
            "MR_small.dcm", "examples_jpeg2k.dcm", "examples_overlay.dcm", "examples_palette.dcm",
            "examples_rgb_color.dcm",
        ),
    },
}  # fmt: skip


def _piece(top: float, left: float, share: float = 0.5) -> Callable[[np.ndarray], np.ndarray]:
    """A part of every film (N, h, w), ``share`` of its height and width, blown up to its size."""

    def cut(gray: np.ndarray) -> np.ndarray:
        height, width = gray.shape[1:]
        box = (left * width, top * height, (left + share) * width, (top + share) * height)
        size = (width, height)
        return np.stack([np.asarray(Image.fromarray(g).resize(size, Image.Resampling.BILINEAR, box)) for g in gray])

    return cut


SPOILED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "inverted": lambda gray: 255 - gray,
    "turned left": lambda gray: np.rot90(gray, 1, (1, 2)),
    "turned right": lambda gray: np.rot90(gray, -1, (1, 2)),
    "upside down": lambda gray: np.rot90(gray, 2, (1, 2)),
    "upper left quarter": _piece(0, 0),
    "middle quarter": _piece(0.25, 0.25),
    "lower right quarter": _piece(0.5, 0.5),
}


@dataclass(frozen=True)
class FilmsReport(JsonRecord):
    """Test films as they are: how many are suspect, and the share that passes."""

    n: int
    suspect: int
    passed: float


@dataclass(frozen=True)
class FittedReport(JsonRecord):
    """Films of train and val that the check was fitted on, and the share of val that passes."""

    train: int
    val: int
    val_passed: float


@dataclass(frozen=True)
class KindReport(JsonRecord):
    """Pictures of one kind: the share that is suspect, and the AUROC against films as they are.

    Where there are fewer than five pictures the share has no interval and there is no AUROC.
    """

    n: int
    flagged: Estimate | float
    auroc: Estimate | None = None

    @property
    def share(self) -> Estimate:
        """The share that is suspect, with an interval where there is one."""
        return self.flagged if isinstance(self.flagged, Estimate) else Estimate(self.flagged)


@dataclass(frozen=True)
class OodReport(JsonRecord):
    """What the check for other pictures is worth: on test films as they are, and on every kind of other picture."""

    films: FilmsReport
    kinds: dict[str, KindReport]
    protocol: str | None = None
    fitted: FittedReport | None = None


def fit_density(train: np.ndarray, val: np.ndarray) -> FilmDensity:
    """The density of at most 1,000 ``train`` films, with the threshold that 99 % of films like ``val`` stay below.

    Both uint8 (N, h, w). With fewer than 99 validation films no threshold can promise that: then only turned and
    inverted films are suspect.
    """
    rows = np.random.default_rng(SEED).permutation(len(train))[:FILMS]
    density = FilmDensity.fit(np.asarray(train[np.sort(rows)]))
    return replace(density, threshold=conformal_quantile(density.surprise(thumbnails(val)), PASSING))


def read_pictures(paths: Sequence[Path], preprocess: Preprocess) -> np.ndarray:
    """The readable ones of ``paths`` as the network would get them, uint8 (N, h, w)."""

    def read() -> Iterator[np.ndarray]:
        for path in paths:
            try:
                gray = read_xray(path).gray8
            except XrayReadError:
                continue
            yield preprocess.to_gray(gray, preprocess.crop_of(gray))

    return np.stack(found) if (found := list(read())) else np.zeros((0, *preprocess.size), np.uint8)


def package_pictures() -> dict[str, list[Path]]:
    """The files of PICTURES that are installed here, by kind."""
    found: dict[str, list[Path]] = {}
    for kind, places in PICTURES.items():
        paths = []
        for place, names in places.items():
            package, _, inside = place.partition("/")
            spec = find_spec(package)
            root = Path(spec.origin).parent / inside if spec and spec.origin else None
            paths += [root / name for name in names if root and (root / name).is_file()]
        found[kind] = paths
    return found


def measure_density(
    density: FilmDensity,
    films: Films,
    others: Mapping[str, np.ndarray],
    *,
    protocol: str | None = None,
    fitted: FittedReport | None = None,
    resamples: int = RESAMPLES,
) -> OodReport:
    """How well ``density`` tells test ``films`` from the same films spoiled (SPOILED) and from ``others`` uint8.

    With 95 % intervals by patient. ``protocol`` and ``fitted`` say what the check was fitted on.
    """
    gray, patients = np.asarray(films.gray), list(films.table["patient"])
    fine = density.check(gray).score
    as_they_are = FilmsReport(len(gray), int((fine > 0).sum()), float((fine <= 0).mean()))
    spoiled = {name: (spoil(gray), patients) for name, spoil in SPOILED.items()}
    foreign = {kind: (pictures, [f"{kind} {i}" for i in range(len(pictures))]) for kind, pictures in others.items()}
    kinds = {
        kind: _measure_kind(fine, density.check(pictures).score, patients + owners, resamples)
        for kind, (pictures, owners) in {**spoiled, **foreign}.items()
        if len(pictures)
    }
    return OodReport(as_they_are, kinds, protocol, fitted)


def _measure_kind(fine: np.ndarray, score: np.ndarray, patients: list[str], resamples: int) -> KindReport:
    report = measure(
        np.concatenate([fine, score]),
        np.repeat([0.0, 1.0], [len(fine), len(score)]),
        SUSPECT,
        patients,
        resamples=resamples,
        metrics={"auroc": METRICS["auroc"], "flagged": METRICS["sensitivity"]},
    )
    flagged = report.metrics["flagged"] or float((score > 0).mean())
    return KindReport(len(score), flagged, report.metrics["auroc"])
