"""Out-of-distribution check: is this a picture of the kind that the model was trained on, the right way up?

Frontal chest films look alike at 16 x 16 pixels, and nothing else looks like them. Probabilistic PCA (Tipping & Bishop
1999) of the training films' thumbnails gives a density; a picture is suspect where it is less likely than nearly all
validation films, or where it would be more likely turned or inverted. It sees pixels, not the network's features: these
are trained to tell disease, hardly notice an inverted film, and would have to be caught in every explanation method.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from hf_pneumo.models.hub_download import CheckpointError

DENSITY = "film_density.safetensors"
SIDE = 16  # pixels of a thumbnail's side
COMPONENTS = 100
LEAST_SPREAD = 0.255  # grey levels; flatter pictures are not blown up to full contrast
FLAT = 0.5  # standard deviation of a thumbnail, 1 for any film: below, its picture spreads less than LEAST_SPREAD

# How a film may lie wrong, and what puts it right; thumbnails (N, s, s) have mean 0, so that inversion is a sign.
TURNS = {
    "turned by 90 degrees to the left": lambda t: np.rot90(t, -1, (1, 2)),
    "upside down": lambda t: np.rot90(t, 2, (1, 2)),
    "turned by 90 degrees to the right": lambda t: np.rot90(t, 1, (1, 2)),
    "inverted, with dark bones": lambda t: -t,
}


class Suspicion(NamedTuple):
    """What the check says of one picture, in nats.

    ``surprise``: its negative log-density; infinite for a flat picture, which lies near the mean of all films and is
    none. ``turned``: how it would be likeliest (a key of TURNS), None where it is so as it is or none of them makes it
    a film. ``gain``: by how much.
    """

    surprise: float
    turned: str | None
    gain: float


class Check(NamedTuple):
    """``score`` (N,): above 0 for a suspect picture, in nats; ``wrong``: how it lies wrong (a key of TURNS), "unlike"
    for one that is no such film either way, None for one that passes; ``suspicions``: of each picture."""

    score: np.ndarray
    wrong: list[str | None]
    suspicions: list[Suspicion]


@dataclass(frozen=True, eq=False)
class FilmDensity:
    """Density of thumbnails (s * s = D pixels, standardised film by film) in k principal directions and noise.

    mean: (D,). directions: (k, D), orthonormal rows. variances: (k,), above noise. noise: variance in every other
    direction. threshold: the surprise, in nats, that few validation films reach.
    """

    mean: np.ndarray
    directions: np.ndarray
    variances: np.ndarray
    noise: float
    threshold: float

    @classmethod
    def fit(cls, gray: np.ndarray, threshold: float = np.inf) -> FilmDensity:
        """From training films uint8 (N, h, w), at least 3; the threshold is left to validation films."""
        if len(gray) < 3:
            raise ValueError(f"`gray` holds {len(gray)} films; a density needs at least 3, better several hundred")
        from sklearn.decomposition import PCA  # a second of import, which judging films can do without

        flat = thumbnails(gray).reshape(len(gray), -1)
        pca = PCA(min(COMPONENTS, len(flat) - 2), svd_solver="full").fit(flat)
        return cls(pca.mean_, pca.components_, pca.explained_variance_, float(pca.noise_variance_), float(threshold))

    def surprise(self, thumbs: np.ndarray) -> np.ndarray:
        """Negative log-density (N,) in nats, up to a constant, of thumbnails (N, s, s)."""
        centred = thumbs.reshape(len(thumbs), -1) - self.mean
        along = centred @ self.directions.T
        rest = (centred**2).sum(axis=1) - (along**2).sum(axis=1)
        return 0.5 * ((along**2 / self.variances).sum(axis=1) + np.maximum(rest, 0) / self.noise)

    def check(self, gray: np.ndarray) -> Check:
        """Judge pictures uint8 (N, h, w), preprocessed as for the network."""
        thumbs = thumbnails(gray)
        flat = thumbs.std(axis=(1, 2)) < FLAT
        plain = self.surprise(thumbs)
        own = np.where(flat, np.inf, plain)
        righted = np.stack([self.surprise(turn(thumbs)) for turn in TURNS.values()])  # (turns, N)
        righted[:, flat] = np.inf
        best = righted.min(axis=0)
        gain = np.where(flat, 0.0, own - np.where(flat, 0.0, best))
        score = np.where(flat, np.inf, np.maximum(plain - self.threshold, gain))
        names, suspicions = list(TURNS), []
        for turn, surprise, by, rest in zip(righted.argmin(axis=0), own, gain, best, strict=True):
            is_turned = by > 0 and rest <= self.threshold
            suspicions.append(Suspicion(float(surprise), names[turn] if is_turned else None, float(by)))
        wrong = [None if s <= 0 else own.turned or "unlike" for s, own in zip(score, suspicions, strict=True)]
        return Check(score, wrong, suspicions)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write film_density.safetensors into the checkpoint ``folder``, whole or not at all."""
        path = Path(folder) / DENSITY
        temporary = path.with_name(path.name + ".part")
        # In C order: safetensors writes the bytes as they lie in memory.
        save_file({k: np.array(v, dtype=np.float32, order="C") for k, v in asdict(self).items()}, temporary)
        os.replace(temporary, path)
        return path

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> FilmDensity | None:
        """Read it from the checkpoint ``folder``; None where there is none, CheckpointError for a damaged one."""
        path = Path(folder) / DENSITY
        if not path.is_file():
            return None
        try:
            stored = load_file(path)
            values: dict[str, Any] = {name: v.astype(np.float64) if v.ndim else float(v) for name, v in stored.items()}
            return cls(**values)
        except (OSError, SafetensorError, TypeError) as error:
            raise CheckpointError(f"{path} is damaged ({error}); fit it again with hf-pneumo fit-ood") from error


def sentence(wrong: str) -> str:
    """What a reader is told of a suspect picture; ``wrong`` as in :class:`Check`."""
    if wrong == "unlike":
        return "The picture is unlike the films that this model was trained on: its answer means nothing here."
    return f"The film seems to be {wrong}: the model knows upright films with white bones only."


def thumbnails(gray: np.ndarray) -> np.ndarray:
    """Pictures uint8 (N, h, w) to float64 (N, s, s) of mean 0 and variance 1 each: exposure and contrast are gone."""
    small = np.stack([_small(picture) for picture in gray])
    centred = small - small.mean(axis=(1, 2), keepdims=True)
    return centred / (small.std(axis=(1, 2), keepdims=True) + LEAST_SPREAD)


def _small(picture: np.ndarray) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(picture)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.float64)
