"""Which pictures are not judged, and why: decided here alone, for the library, the commands and the Space.

A network answers any picture, and the answer to a white page looks like one to a film. So a picture is held against
what its header says, against what any chest film looks like, and against the films that the checkpoint has learnt from.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from hf_pneumo.imaging.film_check import OTHER, check_film
from hf_pneumo.imaging.lungs import find_lungs
from hf_pneumo.imaging.reader import FEWEST_LEVELS, LARGEST_ASPECT, LEAST_CONTRAST
from hf_pneumo.imaging.xray import Xray
from hf_pneumo.models.ood_detector import TURNS, Suspicion

SMALLEST_SIDE = 32  # pixels; below, ribs and heart are a few pixels each
SIDE = 128  # pixels at which the picture's detail is measured, so that it does not depend on the file's resolution
BLUR = 2.0  # pixels of the SIDE: what is finer is detail

# Bounds that hold every frontal film of three hospitals and every phantom (555 were measured) with room on either side:
# there the detail's share of the contrast is .06 to .39 and the commonest grey takes .33 of the picture at most.
FLAT = 0.05  # between the 1st and 99th percentile
LEAST_DETAIL, MOST_DETAIL = 0.03, 0.45
LARGEST_EVEN_SHARE = 0.8
# Nats above which a picture is far outside: those films reach 2,700, photographs exceed it in two cases of three.
FAR_OUTSIDE = 3200.0
# Nats by which a picture is likelier turned or inverted: 3 % of another hospital's upright films reach that, 95 % of
# its turned ones do.
CLEARLY_TURNED = 100.0


class Reason(StrEnum):
    """Why a picture is not judged, in a few words that stay the same from film to film."""

    NO_CONTENT = "no content"
    NO_CHEST_FILM = "not a frontal chest film"
    LATERAL = "lateral"
    TURNED = "inverted or turned"
    UNLIKE = "unlike what the model knows"


@dataclass(frozen=True)
class Refusal:
    """``reason``: a value of :class:`Reason`. ``sentence``: the same for a reader, with what was seen."""

    reason: str
    sentence: str


def refusal_of(film: Xray, suspicion: Suspicion | None) -> Refusal | None:
    """Why ``film`` is not to be judged, or None; ``suspicion``: what the checkpoint's own check says, if it has one."""
    return (
        _by_header(film)
        or _by_picture(film)
        or _by_kind(film)
        or (suspicion and _by_posture(film, suspicion))
        or _by_lungs(film)
        or (suspicion and _by_likeness(suspicion))
        or None
    )


def _by_header(film: Xray) -> Refusal | None:
    if film.projection.lateral:
        return _refuse(Reason.LATERAL, "The header says that this is a lateral view: only frontal films are judged.")
    if film.projection.quarter_turns:
        return _refuse(Reason.TURNED, "The header says that the patient is not upright on this film: turn it first.")
    return None


def _by_picture(film: Xray) -> Refusal | None:
    """What no frontal chest film looks like, whatever the checkpoint."""
    height, width = film.pixels.shape
    gray = film.gray8
    step = max(1, int(np.sqrt(gray.size / 250_000)))  # a sample is enough
    sample = gray[::step, ::step]
    low, high = np.percentile(sample, (1, 99))
    if high - low < 255 * FLAT:
        return _refuse(Reason.NO_CONTENT, "The picture is one even grey: there is nothing to see in it.")
    if high - low < 255 * LEAST_CONTRAST:  # a network takes a pale film for a film full of fluid
        return _refuse(
            Reason.NO_CONTENT, "The picture has too little contrast: export it with its full range of greys."
        )
    if min(height, width) < SMALLEST_SIDE:
        return _refuse(Reason.NO_CONTENT, f"The picture is {width} x {height} pixels: too small to show a chest.")
    if max(height, width) > LARGEST_ASPECT * min(height, width):
        return _refuse(Reason.NO_CHEST_FILM, f"No chest film is as long or wide as {width} x {height} pixels.")
    if film.coloured:
        return _refuse(Reason.NO_CHEST_FILM, "The picture is in colour, as a photograph or a marked screenshot is.")
    counts = np.bincount(sample.ravel(), minlength=256) / sample.size
    if np.count_nonzero(counts) < FEWEST_LEVELS:
        return _refuse(Reason.NO_CHEST_FILM, "The picture has only a few grey levels, as a drawing or a text has.")
    if np.convolve(counts, np.ones(5)).max() > LARGEST_EVEN_SHARE:
        return _refuse(Reason.NO_CHEST_FILM, "Nearly all of the picture is one grey, as on a page of text.")
    detail = detail_share(gray)
    if detail < LEAST_DETAIL:
        return _refuse(Reason.NO_CONTENT, "The picture has no detail: it fades evenly from one grey to another.")
    if detail > MOST_DETAIL:
        return _refuse(Reason.NO_CHEST_FILM, "The picture is finer grained than a film: noise, text or a texture.")
    return None


def _by_kind(film: Xray) -> Refusal | None:
    """What the check that belongs to no checkpoint says; a film that is black outside its lungs is none it has seen."""
    kind = check_film(film.gray8).reason
    if kind is None or film.lungs.already_cut:
        return None
    if kind == OTHER:
        return _refuse(Reason.NO_CHEST_FILM, "The picture does not look like a frontal chest film.")
    return _refuse(Reason.TURNED, f"The film seems to be {kind}: the model knows upright films with white bones only.")


def _by_posture(film: Xray, suspicion: Suspicion) -> Refusal | None:
    """A film that would be likelier another way up, or with its greys the other way round, and shows lungs then."""
    if suspicion.turned and suspicion.gain > CLEARLY_TURNED and find_lungs(righted(film, suspicion.turned)).found:
        seems = f"The film seems to be {suspicion.turned}"
        return _refuse(Reason.TURNED, f"{seems}: the model knows upright films with white bones only.")
    return None


def righted(film: Xray, turned: str) -> np.ndarray:
    """The film's pixels, float (H, W) in [0, 1], put right; ``turned``: a key of `ood_detector.TURNS`."""
    return TURNS[turned](film.pixels[None] - 0.5)[0] + 0.5  # there, an inversion is a sign


def _by_lungs(film: Xray) -> Refusal | None:
    """Every film of 300 from three hospitals, and every phantom, shows lungs; of 40 other pictures none does."""
    if not film.lungs.found:
        return _refuse(Reason.NO_CHEST_FILM, "No lungs can be told in the picture, as in every frontal chest film.")
    return None


def _by_likeness(suspicion: Suspicion) -> Refusal | None:
    if suspicion.surprise > FAR_OUTSIDE:
        return _refuse(Reason.UNLIKE, "The picture is far from every film that this model was trained on.")
    return None


def _refuse(reason: Reason, sentence: str) -> Refusal:
    return Refusal(reason.value, sentence)


def detail_share(gray: np.ndarray) -> float:
    """Share of the contrast of uint8 (H, W) that is finer than 1/64 of its sides, in [0, 1]; 0 for a flat picture."""
    small = np.asarray(Image.fromarray(gray).resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)
    contrast = small.std()
    return float((small - gaussian_filter(small, BLUR)).std() / contrast) if contrast else 0.0
