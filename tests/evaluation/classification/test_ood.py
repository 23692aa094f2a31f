"""Films pass, everything else does not: on phantoms, and on pictures that installed packages bring along."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from hf_pneumo.data.film_cache import Films
from hf_pneumo.evaluation.classification.ood import (
    KindReport,
    fit_density,
    measure_density,
    package_pictures,
    read_pictures,
)
from hf_pneumo.imaging.phantom import phantoms
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.hub_download import CheckpointError
from hf_pneumo.models.ood_detector import DENSITY, FilmDensity, sentence, thumbnails


@pytest.fixture(scope="module")
def gray() -> np.ndarray:
    return np.stack([np.rint(p.pixels * 255).astype(np.uint8) for p in phantoms(260, size=48)])


@pytest.fixture(scope="module")
def density(gray) -> FilmDensity:
    return fit_density(gray[:120], gray[120:220])


def test_thumbnails_know_no_exposure(gray):
    darker = np.rint(gray * 0.5 + 20).astype(np.uint8)
    assert thumbnails(darker) == pytest.approx(thumbnails(gray), abs=0.1)
    assert np.isfinite(thumbnails(np.zeros((1, 48, 48), np.uint8))).all()


def test_the_density_is_that_of_probabilistic_pca(gray):
    from sklearn.decomposition import PCA

    flat = thumbnails(gray[:120]).reshape(120, -1)
    own = FilmDensity.fit(gray[:120]).surprise(thumbnails(gray[220:230]))
    theirs = -PCA(100, svd_solver="full").fit(flat).score_samples(thumbnails(gray[220:230]).reshape(10, -1))
    assert own - own[0] == pytest.approx(theirs - theirs[0], rel=1e-6, abs=1e-6)


def test_each_way_to_lie_wrong_is_named(density, gray):
    film = gray[220:260]
    spoiled = {
        None: film,
        "turned by 90 degrees to the left": np.rot90(film, 1, (1, 2)),
        "turned by 90 degrees to the right": np.rot90(film, -1, (1, 2)),
        "upside down": np.rot90(film, 2, (1, 2)),
        "inverted, with dark bones": 255 - film,
    }
    for name, pictures in spoiled.items():
        found = density.check(pictures)
        assert found.wrong.count(name) >= 37, (name, set(found.wrong))
        assert all((s > 0) == (w is not None) for s, w in zip(found.score, found.wrong, strict=True))
    noise = np.random.default_rng(0).integers(0, 255, (5, 48, 48)).astype(np.uint8)
    assert density.check(noise).wrong == ["unlike"] * 5
    assert "upside down" in sentence("upside down") and "unlike" in sentence("unlike")


def test_it_comes_back_from_the_folder_as_it_was(density, gray, tmp_path):
    assert FilmDensity.load(tmp_path) is None
    path = density.save(tmp_path)
    assert path.name == DENSITY and path.stat().st_size < 2**20 and len(list(tmp_path.iterdir())) == 1
    again = FilmDensity.load(tmp_path)
    assert again.check(gray[220:]).score == pytest.approx(density.check(gray[220:]).score, abs=0.1)
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="fit-ood"):
        FilmDensity.load(tmp_path)


def test_few_validation_films_promise_nothing(gray):
    assert fit_density(gray[:50], gray[130:220]).threshold == np.inf
    with pytest.raises(ValueError, match="at least 3"):
        FilmDensity.fit(gray[:2])


def test_real_pictures_of_other_things_are_told_apart(density, gray):
    table = Dataset.from_dict({"patient": [f"p{i}" for i in range(40)]})
    films = Films(gray[220:], table, tuple(map(str, range(40))), ())
    paths = package_pictures()
    assert len(paths["photographs"]) >= 15
    preprocess = Preprocess(size=(48, 48))
    kinds = {kind: read_pictures(own[:6], preprocess) for kind, own in paths.items()} | {
        "one": gray[:1],
        "none": gray[:0],
    }
    report = measure_density(density, films, kinds, resamples=20)
    assert report.films.passed >= 0.95
    for kind in ("inverted", "turned left", "turned right", "upside down", "photographs"):
        assert report.kinds[kind].auroc.value > 0.97, kind
    assert report.kinds["one"] == KindReport(1, float(density.check(gray[:1]).score[0] > 0))
    assert "none" not in report.kinds
