"""The localization table from files: phantoms whose opacities are known, a network that finds brightness."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.evaluation.explanations import localization as loc
from hf_pneumo.evaluation.explanations.annotations import (
    FRESH_SEED,
    BoxedFilm,
    boxes_by_image,
    phantom_films,
    read_films,
)
from hf_pneumo.evaluation.explanations.evaluate_localization import (
    baseline_maps,
    explain_films,
    measure_localization,
)
from hf_pneumo.evaluation.explanations.localization import LocalizationReport
from hf_pneumo.imaging.phantom import phantoms
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.checkpoint import load, save
from hf_pneumo.models.config import CheckpointConfig
from hf_pneumo.reporting.tables import localization_table

ROOT = Path(__file__).parents[3]
METRICS = {"pointing", "hit_rate", "pixel_auprc", "pixel_auprc_pooled", "iou", "iou_accuracy", "energy", "thresholds"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Eight phantoms with boxes.csv, films.csv, masks, and a checkpoint with random weights."""
    folder = tmp_path_factory.mktemp("boxed")
    (folder / "films").mkdir()
    (folder / "masks").mkdir()
    boxes, films = [], []
    for number, phantom in enumerate(phantoms(8, seed=3, size=128)):
        name = f"film{number}.png"
        Image.fromarray(np.rint(phantom.pixels * 255).astype(np.uint8)).save(folder / "films" / name)
        boxes += [(name, "RSNA", *box) for box in phantom.boxes]
        films.append(
            (name, f"patient{number // 2}", "PA" if number % 3 else "AP", ("Normal", "Opacity")[phantom.label])
        )
        if phantom.label:
            Image.fromarray(phantom.mask).save(folder / "masks" / name)
    write(folder / "boxes.csv", ("image", "source", "x", "y", "w", "h"), boxes)
    write(folder / "films.csv", ("image", "patient", "view", "class"), films)
    torch.manual_seed(0)
    network = timm.create_model("test_efficientnet", num_classes=2)
    preprocess = Preprocess(size=(64, 64))
    save(folder / "checkpoint", network, CheckpointConfig("test_efficientnet", PNEUMONIA, preprocess))
    return folder


def write(path: Path, header: tuple[str, ...], rows: list[tuple]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def test_boxes_are_read_by_image_and_source(tmp_path):
    path = tmp_path / "boxes.csv"
    rows = [("a.png", "RSNA", 1, 2, 3, 4), ("a.png", "NIH", 5, 6, 7, 8), ("b.png", "RSNA", "", "", "", "")]
    write(path, ("image", "source", "x", "y", "w", "h"), rows)
    assert boxes_by_image(path) == {"a.png": [(1, 2, 3, 4), (5, 6, 7, 8)], "b.png": []}
    assert boxes_by_image(path, "NIH") == {"a.png": [(5, 6, 7, 8)]}
    with pytest.raises(ValueError, match="holds no boxes of source 'x'"):
        boxes_by_image(path, "x")


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (("image", "x", "y", "w"), ("a", 1, 2, 3), "lacks the column 'h'; it has image, x, y, w"),
        (("image", "x", "y", "w", "h"), ("a", 1, "two", 3, 4), "line 2: x, y, w, h must be numbers"),
        (("image", "x", "y", "w", "h"), ("a", 1, 2, 0, 4), "line 2: a box of 0.0 x 4.0 pixels"),
    ],
)
def test_a_bad_table_is_refused_with_its_line(tmp_path, header, row, message):
    write(tmp_path / "boxes.csv", header, [row])
    with pytest.raises(ValueError, match=message):
        boxes_by_image(tmp_path / "boxes.csv")


def test_the_frame_covers_the_whole_film_also_with_a_crop(folder):
    torch.manual_seed(0)
    config = CheckpointConfig("test_efficientnet", PNEUMONIA, Preprocess(size=(64, 64), crop=(0.25, 0.75, 0.5, 1.0)))
    save(folder / "cropped", timm.create_model("test_efficientnet", num_classes=2), config)
    checkpoint = load(folder / "cropped")
    read = read_films([BoxedFilm(folder / "films" / "film1.png", "p")], checkpoint.config.preprocess)
    maps, logits = explain_films(checkpoint, read.images, "eigencam")
    assert maps.shape == (1, 224, 224)
    assert maps[0, 56:168, 112:].max() > 0.9
    maps[0, 56:168, 112:] = 0
    assert not maps.any()
    assert logits.shape == (1, 2)


def test_maps_of_an_adaptive_crop_lie_in_each_films_own(folder):
    config = CheckpointConfig("test_efficientnet", PNEUMONIA, Preprocess(size=(64, 64), crop="adaptive"))
    save(folder / "adaptive", timm.create_model("test_efficientnet", num_classes=2), config)
    checkpoint = load(folder / "adaptive")
    films = [BoxedFilm(folder / "films" / f"film{i}.png", "p") for i in (1, 2)]
    read = read_films(films, checkpoint.config.preprocess)
    maps, _ = explain_films(checkpoint, read.images, "eigencam", crops=read.crops)
    assert len(set(read.crops)) == 2 and read.select(np.array([False, True])).crops == read.crops[1:]
    for heat, crop in zip(maps, read.crops, strict=True):
        y0, y1, x0, x1 = checkpoint.config.preprocess.box_in(224, 224, crop)
        outside = heat.copy()
        outside[y0:y1, x0:x1] = 0
        assert heat.any() and not outside.any()


def test_every_method_beside_every_baseline(folder):
    films = [
        BoxedFilm(folder / "films" / name, f"p{name}", tuple(boxes))
        for name, boxes in boxes_by_image(folder / "boxes.csv").items()
    ]
    free = [BoxedFilm(path, path.stem) for path in (folder / "films").iterdir() if path.name not in
            boxes_by_image(folder / "boxes.csv")]  # fmt: skip
    seen = []
    report = measure_localization(
        load(folder / "checkpoint"),
        [*films, *free, BoxedFilm(folder / "missing.png", "x")],  # an unreadable film is left out, not fatal
        ["gradcam", "eigencam"],
        resamples=20,
        progress=lambda name, done: seen.append((name, done)),
    )
    assert list(report.methods) == ["gradcam", "eigencam"]
    assert list(report.baselines) == ["random", "centre", "prior", "lungs"]
    for entry in [*report.methods.values(), *report.baselines.values()]:
        assert entry.films == 4
        assert set(entry.to_json()) >= METRICS
        assert entry.pointing.low <= entry.pointing.value <= entry.pointing.high
    assert report.methods["gradcam"].normal.films == 4
    assert report.methods["gradcam"].mean_map.films == 4
    assert seen[-1] == ("eigencam", 1.0)
    assert LocalizationReport.from_json(json.loads(json.dumps(report.to_json()))) == report
    assert set(report.agreement["gradcam"]) == {"gradcam", "eigencam"}
    table = localization_table(report).splitlines()
    assert len(table) == 2 + 2 + 4
    assert all(line.count("|") == 10 for line in table)


def test_the_lungs_of_a_film_are_a_baseline_that_knows_no_opacity(folder):
    """On phantoms, whose lungs are known: opacities lie inside, so nearly every one is met by chance of its area."""
    films = [BoxedFilm(folder / "films" / n, n, tuple(b)) for n, b in boxes_by_image(folder / "boxes.csv").items()]
    read = read_films(films, load(folder / "checkpoint").config.preprocess)
    found = baseline_maps(read)["lungs"]
    assert found.dtype == np.float32 and set(np.unique(found)) == {0.0, 1.0}
    by_name = {f"film{i}.png": phantom.lungs for i, phantom in enumerate(phantoms(8, seed=3, size=128))}
    for film, heat, truth in zip(films, found, read.truths, strict=True):
        lungs = np.asarray(Image.fromarray(by_name[film.path.name]).resize((224, 224)))
        assert (heat[lungs] > 0).mean() > 0.6 and (heat[~lungs] > 0).mean() < 0.1
        assert loc.pointing(heat, truth, 0) == pytest.approx((truth & (heat > 0)).sum() / heat.sum())


def test_variants_are_further_rows_and_the_plain_ones_stay_what_they_were(folder):
    films = [BoxedFilm(folder / "films" / n, n, tuple(b)) for n, b in boxes_by_image(folder / "boxes.csv").items()]
    checkpoint, names = load(folder / "checkpoint"), ["gradcam", "eigencam"]
    plain = measure_localization(checkpoint, films, names, resamples=10)
    report = measure_localization(
        checkpoint, films, names, variants=["plain", "lungs", "crop+lungs", "stride16"], resamples=10
    )
    assert plain.variants is None
    assert report.methods == plain.methods and report.baselines == plain.baselines
    assert list(report.variants) == ["lungs", "crop+lungs", "stride16"]
    energies = [rows["eigencam"].energy.value for rows in (report.methods, *report.variants.values())]
    assert len(set(energies)) == 4  # each is another map
    lines = localization_table(report).splitlines()
    assert [line.split(" | ")[0].strip("| *") for line in lines[2:10]] == [
        "gradcam", "eigencam", "gradcam, lungs", "eigencam, lungs", "gradcam, crop+lungs", "eigencam, crop+lungs",
        "gradcam, stride16", "eigencam, stride16",
    ]  # fmt: skip
    assert lines[-1].startswith("crop: the network is shown each film's lungs") and "smooth" not in lines[-1]


def test_nothing_to_measure_against_is_said(folder):
    with pytest.raises(ValueError, match="none of them has a box or a mask"):
        measure_localization(load(folder / "checkpoint"), [BoxedFilm(folder / "films" / "film0.png", "p")], ["gradcam"])


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "scripts" / "evaluate_localization.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_writes_the_report_and_the_table(folder, tmp_path):
    common = ["--checkpoint", folder / "checkpoint", "--images", folder / "films", "--resamples", 20]
    done = run(
        *common, "--boxes", folder / "boxes.csv", "--source", "RSNA", "--films", folder / "films.csv",
        "--group_column", "view", "--normal", "class=Normal", "--method", "gradcam,layercam", "--output", tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = LocalizationReport.read(tmp_path / "localization.json")
    assert report.tolerance == 15
    assert report.source == "RSNA"
    assert set(report.methods["layercam"].groups) == {"AP", "PA"}
    assert report.methods["gradcam"].patients <= 4
    assert report.methods["gradcam"].normal.films == 4
    assert "| layercam" in (tmp_path / "localization.md").read_text()


def test_the_command_takes_masks_and_names_bad_usage(folder, tmp_path):
    from hf_pneumo.cli import evaluate_localization as script

    arguments = script.Arguments(
        str(folder / "checkpoint"), str(folder / "films"), str(tmp_path), str(folder / "masks"), resamples=10,
        lungs=str(folder / "masks"),
    )  # fmt: skip
    script.run(arguments)
    report = LocalizationReport.read(tmp_path / "localization.json")
    assert report.methods["gradcam"].films == 4
    assert report.baselines["lung masks"].pixel_auprc.value == 1.0  # the masks themselves, given as lungs
    with pytest.raises(ValueError, match="`method` is 'magic'; choose from gradcam"):
        script.Arguments("c", "i", "o", "b", method="gradcam,magic")
    with pytest.raises(ValueError, match="`normal` is 'Normal'; give COLUMN=VALUE"):
        script.Arguments("c", "i", "o", "b", normal="Normal", films="f.csv")
    with pytest.raises(ValueError, match="`boxes` is missing; give the CSV table"):
        script.Arguments("c", "i", "o")
    with pytest.raises(ValueError, match="`images` are phantoms, whose boxes are known; leave out"):
        script.Arguments("c", "phantom:8", "o", "b")


def test_the_command_draws_phantoms_that_no_training_has_seen(folder, tmp_path):
    done = run(
        "--checkpoint", folder / "checkpoint", "--images", "phantom:8", "--resamples", 20, "--output", tmp_path
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = LocalizationReport.read(tmp_path / "localization.json")
    assert (report.methods["gradcam"].films, report.methods["gradcam"].normal.films) == (4, 4)
    films = phantom_films(8, tmp_path)
    assert [bool(film.boxes) for film in films] == [bool(p.label) for p in phantoms(8, seed=FRESH_SEED)]
    trained = {np.rint(p.pixels * 255).astype(np.uint8).tobytes() for p in phantoms(40, size=loc.FRAME)}
    assert not trained & {np.asarray(Image.open(film.path)).tobytes() for film in films}
