"""The lungs by the shipped network: phantoms, one white lung, pictures without lungs, the way into a model."""

from __future__ import annotations

import csv
import json
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hf_pneumo.imaging import lungs as lungs_module
from hf_pneumo.imaging.lungs import GRID, MARGIN, MIN_CONFIDENCE, UNSURE, WHOLE, LungField, find_lungs
from hf_pneumo.imaging.phantom import make_phantom, phantoms
from hf_pneumo.imaging.preprocess import ADAPTIVE, CROPS, Crop, Preprocess

SPEC = Preprocess(size=(96, 96), crop=CROPS["adaptive"])


def kept(mask: np.ndarray, box: tuple[float, ...]) -> float:
    """Share of ``mask`` that lies in ``box``."""
    y0, y1, x0, x1 = Preprocess().box_in(*mask.shape, Crop(box))
    return mask[y0:y1, x0:x1].sum() / mask.sum()


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    return float(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))


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
    overlaps = [dice(find_lungs(film.pixels).mask(*film.lungs.shape), film.lungs) for film in films]
    assert np.mean(overlaps) > 0.95 and min(overlaps) > 0.9


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


def test_the_same_film_has_the_same_lungs_in_any_depth_and_order(films):
    eight = np.rint(films[0].pixels * 255).astype(np.uint8)
    first = find_lungs(eight)
    find_lungs(films[1].pixels)
    for again in (find_lungs(eight), find_lungs(eight / np.float32(255))):
        assert np.array_equal(again.probability, first.probability) and again.box == first.box


def pair(top=20, bottom=60, left=10, right=70) -> np.ndarray:
    """Two upright rectangles as probabilities, ten cells wide each."""
    probability = np.zeros((GRID, GRID), np.float32)
    probability[top:bottom, left : left + 10] = probability[top:bottom, right - 10 : right] = 1
    return probability


def test_the_boxes_are_the_lungs_with_margins_within_the_film():
    field = LungField(pair(), 0.99)
    assert field.found and field.box_with(0.0) == (0.25, 0.75, 0.125, 0.875)
    assert field.area == 2 * 40 * 10 / GRID**2 == field.mask(160, 160).mean()
    assert field.box_with(0.1) == pytest.approx((0.2, 0.8, 0.05, 0.95))
    assert field.box_with((0.1, 0.2, 0.0)) == pytest.approx((0.2, 0.85, 0.125, 0.875))
    assert field.box_with(1.0) == WHOLE
    above, below, beside = MARGIN
    assert field.box == pytest.approx(
        (0.25 - above / 2, 0.75 + below / 2, 0.125 - 0.75 * beside, 0.875 + 0.75 * beside)
    )


@pytest.mark.parametrize(
    "field",
    [
        LungField(pair(), MIN_CONFIDENCE - 0.01),
        LungField(pair(20, 22), 0.99),
        LungField(np.ones((GRID, GRID), np.float32), 0.99),
    ],
    ids=["unsure", "too small", "too large"],
)
def test_a_doubtful_field_is_the_whole_film(field):
    assert not field.found and field.box == field.box_with(0.0) == field.box_with(0.1) == WHOLE
    assert field.area == 1.0 and field.mask(30, 40).all() and field.mask(30, 40).shape == (30, 40)


def test_what_lies_beside_the_lungs_is_dropped_and_holes_are_filled():
    probability = pair() * np.float32(0.9)
    probability[30:34, 13:16] = 0.1  # a hole
    probability[70:73, 38:41] = 0.9  # bowel gas
    probability[20:60, 20] = 0.4  # a soft rim
    lungs = lungs_module._lungs_only(probability)
    assert lungs[32, 14] > 0.5 and not lungs[70:73].any() and lungs[40, 20] == np.float32(0.4)
    assert not lungs_module._lungs_only(np.zeros((GRID, GRID), np.float32)).any()


def test_confidence_is_the_dice_that_the_probabilities_promise():
    assert lungs_module._expected_dice(pair()) == 1.0
    assert lungs_module._expected_dice(pair() * np.float32(0.6)) == pytest.approx(2 * 0.6 / 1.6)
    assert lungs_module._expected_dice(np.full((4, 4), 0.5, np.float32)) == 0.0


def test_a_film_cut_out_along_its_lungs_keeps_that_cut(films):
    """As in collections that blacken all but the lungs; an opacity that the cut left out is closed again."""
    film, lungs = films[0].pixels, films[0].lungs
    rows, columns = np.nonzero(lungs)
    hole = np.hypot(*(np.mgrid[0:224, 0:224] - np.array([np.median(rows), columns.min() + 20])[:, None, None])) < 8
    cut = np.where(lungs & ~hole, np.maximum(film, 0.1), 0)
    field = find_lungs(cut)
    mask = field.mask(224, 224)
    assert field.already_cut and field.found and mask[hole & lungs].all()
    assert dice(mask, lungs) > 0.97


@pytest.mark.parametrize("index", range(4))
def test_black_borders_alone_make_no_cut_out_film(films, index):
    film = np.pad(np.rint(films[index].pixels * 255).astype(np.uint8), 60)
    field = find_lungs(film)
    truth = np.pad(films[index].lungs, 60)
    mask = field.mask(*truth.shape)
    assert not field.already_cut and dice(mask, truth) > 0.85


def test_threads_read_films_side_by_side_with_the_same_result(films):
    gray = [np.rint(film.pixels * 255).astype(np.uint8) for film in films]
    alone = [find_lungs(film) for film in gray]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(find_lungs, gray * 4))
    for i, field in enumerate(together):
        assert np.array_equal(field.probability, alone[i % len(gray)].probability)


def test_more_threads_a_film_change_nothing_but_the_time(films):
    one, two = (find_lungs(films[0].pixels, threads=n) for n in (1, 2))
    assert np.abs(one.probability - two.probability).max() < 1e-4 and one.box == two.box


def test_neither_torch_nor_timm_is_imported():
    root = Path(__file__).parents[2]
    code = f"""
import sys, types
import numpy
sys.modules["hf_pneumo"] = types.ModuleType("hf_pneumo")  # this module alone, not the package's face
sys.modules["hf_pneumo"].__path__ = [{str(root / "hf_pneumo")!r}]
from hf_pneumo.imaging.lungs import find_lungs
find_lungs(numpy.zeros((9, 9)))
print(sorted({{"torch", "timm", "sklearn"}} & set(sys.modules)))
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


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
