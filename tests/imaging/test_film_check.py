"""The shipped check: phantoms pass upright alone, other pictures are refused, the answer is the same in any thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hf_pneumo.evaluation.classification.ood import package_pictures
from hf_pneumo.imaging.film_check import (
    FILM,
    KINDS,
    LEAST_PROBABILITY,
    OTHER,
    POSTURES,
    FilmCheck,
    check_film,
    prepared,
)
from hf_pneumo.imaging.phantom import phantoms
from hf_pneumo.imaging.reader import read_xray

WAYS = dict(
    zip(
        POSTURES,
        (lambda f: 255 - f, lambda f: np.rot90(f, 1), lambda f: np.rot90(f, -1), lambda f: np.rot90(f, 2)),
        strict=True,
    )
)


@pytest.fixture(scope="module")
def films() -> list[np.ndarray]:
    return [np.rint(255 * phantom.pixels).astype(np.uint8) for phantom in phantoms(10, seed=2, size=200)]


def test_upright_phantoms_pass_mirrored_or_not(films):
    assert all(check_film(film).reason is None and check_film(film[:, ::-1]).reason is None for film in films)


@pytest.mark.parametrize("posture", POSTURES)
def test_inverted_and_turned_ones_are_told(films, posture):
    assert [check_film(WAYS[posture](film)).reason for film in films] == [posture] * len(films)


def test_pictures_that_packages_bring_are_no_films():
    gray = [read_xray(path).gray8 for paths in package_pictures().values() for path in paths]
    assert len(gray) >= 20 and all(check_film(picture).reason is not None for picture in gray)


@pytest.mark.parametrize(
    "gray",
    [
        np.zeros((64, 64), np.uint8),
        np.full((300, 200), 255, np.uint8),
        np.random.default_rng(0).integers(0, 256, (224, 224), dtype=np.uint8),
        np.tile(np.linspace(0, 255, 128).astype(np.uint8), (128, 1)),
        np.zeros((1, 1), np.uint8),
    ],
    ids=["black", "white", "noise", "ramp", "one pixel"],
)
def test_nothing_is_no_film(gray):
    assert check_film(gray).reason is not None


def test_the_reason_is_the_likeliest_other_kind_below_the_threshold():
    def check(film: float, other: float) -> str | None:
        rest = (1 - film - other) / len(POSTURES)
        return FilmCheck({FILM: film, **dict.fromkeys(POSTURES, rest), OTHER: other}).reason

    assert check(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY) is None
    assert check(LEAST_PROBABILITY - 0.01, 0.6) == OTHER
    assert check(LEAST_PROBABILITY - 0.01, 0.0) in POSTURES


def test_probabilities_are_of_every_kind_and_the_same_in_any_thread(films):
    alone = [check_film(film).probabilities for film in films]
    assert list(alone[0]) == list(KINDS) and sum(alone[0].values()) == pytest.approx(1, abs=1e-5)
    with ThreadPoolExecutor(4) as pool:
        assert [check.probabilities for check in pool.map(check_film, films)] == alone


def test_exposure_and_contrast_are_gone(films):
    darker = np.rint(0.6 * films[0] + 20).astype(np.uint8)
    assert np.abs(prepared(darker) - prepared(films[0])).max() < 0.2


@pytest.mark.parametrize("gray", [np.zeros((3, 4, 5), np.uint8), np.zeros((4, 4)), np.zeros((0, 4), np.uint8)])
def test_only_grey_pictures_of_8_bits(gray):
    with pytest.raises(ValueError, match="uint8"):
        check_film(gray)
