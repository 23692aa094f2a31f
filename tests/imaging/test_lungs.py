"""The lung-field crop: known lungs of phantoms, one white lung, films without lungs, the way into a model."""

from __future__ import annotations

import csv
import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hf_pneumo.imaging.lungs import UNSURE, WHOLE, LungField, find_lungs
from hf_pneumo.imaging.phantom import make_phantom, phantoms
from hf_pneumo.imaging.preprocess import ADAPTIVE, CROPS, Crop, Preprocess

SPEC = Preprocess(size=(96, 96), crop=CROPS["adaptive"])


def kept(mask: np.ndarray, box: tuple[float, ...]) -> float:
    """Share of ``mask`` that lies in ``box``."""
    y0, y1, x0, x1 = Preprocess().box_in(*mask.shape, Crop(box))
    return mask[y0:y1, x0:x1].sum() / mask.sum()


@pytest.fixture(scope="module")
def films():
    return list(phantoms(12, size=224, seed=5))


def test_the_lungs_of_phantoms_are_in_the_box_and_most_of_the_film_is_not(films):
    found = [find_lungs(film.pixels) for film in films]
    assert all(one.found for one in found)
    assert np.mean([kept(film.lungs, one.box) for film, one in zip(films, found, strict=True)]) > 0.97
    areas = [(bottom - top) * (right - left) for top, bottom, left, right in (one.box for one in found)]
    assert np.mean(areas) < 0.7


def test_the_mask_overlaps_the_lungs_of_phantoms(films):
    overlap = [
        (mask & film.lungs).sum() / (mask | film.lungs).sum()
        for film in films
        for mask in [find_lungs(film.pixels).mask(*film.lungs.shape)]
    ]
    assert np.mean(overlap) > 0.7 and min(overlap) > 0.5


def test_a_planted_opacity_is_not_cropped_away(films):
    sick = [film for film in films if film.boxes]
    assert np.mean([kept(film.mask, find_lungs(film.pixels).box) for film in sick]) > 0.97


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_white_lung_stays_in_the_box(side):
    film = make_phantom(3, size=224)
    lung = film.lungs.copy()
    lung[:, 112:] &= side == "right"
    lung[:, :112] &= side == "left"
    white = np.where(lung, film.pixels[~film.lungs].mean(), film.pixels)
    assert kept(lung, find_lungs(white).box) > 0.9


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((64, 64), np.uint8),
        np.full((300, 200), 255, np.uint8),
        np.random.default_rng(0).integers(0, 256, (224, 224), dtype=np.uint8),
        np.tile(np.linspace(0, 255, 128).astype(np.uint8), (128, 1)),
        np.zeros((1, 1), np.uint8),
    ],
    ids=["black", "white", "noise", "ramp", "one pixel"],
)
def test_without_lungs_it_is_the_whole_film_and_says_so(pixels):
    found = find_lungs(pixels)
    assert not found.found and found.box == WHOLE and found.mask(*pixels.shape).all()
    assert SPEC.crop_of(pixels) == Crop(WHOLE, UNSURE)
    assert np.array_equal(SPEC.to_gray(pixels), Preprocess(size=(96, 96)).to_gray(pixels))


def test_the_same_film_has_the_same_box_in_any_depth_and_order(films):
    eight = np.rint(films[0].pixels * 255).astype(np.uint8)
    first = find_lungs(eight)
    find_lungs(films[1].pixels)
    assert find_lungs(eight) == first == find_lungs(eight / np.float32(255))


@pytest.mark.parametrize(
    ("centre", "box"), [((0.5, 0.5), (0.085, 0.915, 0.112, 0.888)), ((0.45, 0.56), (0.063, 0.876, 0.156, 0.934))]
)
def test_the_boxes_that_published_checkpoints_were_trained_with_stay_as_they_are(centre, box):
    """Another box would change what a published model is shown: that needs a new name in CROPS."""
    y, x = np.mgrid[0:112, 0:112] / 112
    film = np.full((112, 112), 200, np.uint8)
    for side in (-0.18, 0.18):
        film[((y - centre[0]) / 0.28) ** 2 + ((x - centre[1] - side) / 0.12) ** 2 < 1] = 60
    film[:, :8] = film[:, -8:] = 0
    assert find_lungs(film).box == pytest.approx(box, abs=0.0011)


def test_the_box_is_the_fields_with_margins_within_the_film():
    assert LungField((0.2, 0.7, 0.25, 0.75), 0.9).box == (0.165, 0.76, 0.215, 0.785)
    assert LungField((-0.1, 1.2, 0.0, 1.0), 0.9).box == WHOLE
    assert LungField((0.2, 0.7, 0.25, 0.75), 0.1).box == WHOLE


def test_only_grey_images():
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        find_lungs(np.zeros((3, 4, 5), np.uint8))


def test_a_map_comes_back_to_where_the_film_was_looked_at(films):
    pixels = films[0].pixels
    crop = SPEC.crop_of(pixels)
    assert crop.box != WHOLE and not crop.note
    back = SPEC.to_original(SPEC.to_gray(pixels, crop) / np.float32(255), pixels.shape, crop)
    y0, y1, x0, x1 = SPEC.box_in(*pixels.shape, crop)
    assert np.abs(back - pixels)[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].mean() < 0.02
    back[y0:y1, x0:x1] = 0
    assert not back.any()


def test_without_the_films_crop_nothing_is_mapped_back():
    with pytest.raises(ValueError, match="crop_of"):
        SPEC.to_original(np.zeros((7, 7), np.float32), (224, 224))


def test_a_spec_with_an_adaptive_crop_survives_json():
    assert SPEC.crop == ADAPTIVE
    assert Preprocess.from_dict(json.loads(json.dumps(SPEC.to_dict()))) == SPEC
    with pytest.raises(ValueError, match="adaptive"):
        Preprocess(crop="tight")


def test_decoding_crops_each_film_and_counts_those_without_lungs(films, tmp_path, caplog):
    from hf_pneumo.data.film_cache import decode
    from hf_pneumo.data.sources import load_xrays

    for name, pixels in (("a", films[0].pixels), ("b", films[1].pixels), ("c", np.zeros((64, 64)))):
        (tmp_path / "films/train/NORMAL").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(tmp_path / f"films/train/NORMAL/{name}.png")
    with caplog.at_level(logging.WARNING):
        read = decode(load_xrays(str(tmp_path / "films")), SPEC, cache=tmp_path / "cache", progress=False)
    assert np.array_equal(read.gray[0], SPEC.to_gray(films[0].pixels))
    assert f"1 of 3 films: {UNSURE}" in caplog.text
    whole = decode(load_xrays(str(tmp_path / "films")), Preprocess(size=(96, 96)), cache=tmp_path / "cache")
    assert not np.array_equal(whole.gray[0], read.gray[0]) and len(whole) == 3


@pytest.mark.slow
def test_most_of_the_radiologists_boxes_are_kept():
    root = Path(os.environ.get("HF_PNEUMO_TEST_DATA", "")) / "nih512"
    if not os.environ.get("HF_PNEUMO_TEST_DATA") or not root.is_dir():
        pytest.skip("HF_PNEUMO_TEST_DATA has no nih512")
    shares = []
    with (root / "boxes.csv").open() as file:
        for row in csv.DictReader(file):
            film = np.array(Image.open(root / "images" / row["image"]).convert("L"))
            x, y, w, h = (int(float(row[key])) for key in ("x", "y", "w", "h"))
            mask = np.zeros(film.shape, bool)
            mask[y : y + h, x : x + w] = True
            shares.append(kept(mask, find_lungs(film).box))
    assert np.mean(shares) > 0.9
