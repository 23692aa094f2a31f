"""What is added to a checkpoint after its training: other pictures told apart, films from elsewhere, results anew."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from hf_pneumo import Predictor
from hf_pneumo.cli import configure, fit_ood
from hf_pneumo.cli import evaluate as evaluate_script
from hf_pneumo.cli import reevaluate as reevaluate_script
from hf_pneumo.files import read_json
from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.models.checkpoint import load
from hf_pneumo.models.config import weights_sha256
from hf_pneumo.models.ood_detector import DENSITY, FilmDensity
from hf_pneumo.training.config import TrainConfig
from hf_pneumo.training.run import train

SOURCE = "phantom:120"
pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, cache) -> Path:
    config = TrainConfig(
        dataset=SOURCE, model="test_resnet", size=48, epochs=1, cache=cache, output=str(tmp_path_factory.mktemp("run"))
    )
    return train(config)


def test_training_leaves_sets_and_a_density(folder):
    checkpoint = load(folder)
    assert checkpoint.config.operating_point.sets.fitted_on == "official/val"
    assert checkpoint.density is not None


def test_other_pictures_are_measured_against_the_checkpoints_own_films(folder, cache):
    (folder / DENSITY).unlink()
    fit_ood.run(fit_ood.Arguments(checkpoint=str(folder), dataset=SOURCE, cache=cache))
    assert FilmDensity.load(folder) is not None
    report = read_json(folder / "results/ood.json")
    assert report["fitted"] == {"train": 72, "val": 24, "val_passed": 1.0} and report["films"]["n"] == 24
    assert report["kinds"]["inverted"]["auroc"]["value"] > 0.95


def test_films_from_elsewhere_are_all_measured_by_the_stored_operating_point(folder, cache, tmp_path):
    rows = []
    for seed in range(12):
        name = f"{seed}.png"
        pixels = make_phantom(1000 + seed, size=64, opacities=seed % 2).pixels
        Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(tmp_path / name)
        kind = ("clear", "ill")[seed % 2] if seed < 10 else "unknown"
        rows.append({"image": name, "said": kind, "view": "AP" if seed < 5 else "PA"})
    pd.DataFrame(rows).to_csv(tmp_path / "elsewhere.csv", index=False)
    before = load(folder).config.operating_point
    evaluate_script.run(
        evaluate_script.Arguments(
            checkpoint=str(folder), external=str(tmp_path / "elsewhere.csv"), label_column="said",
            classes="clear=NORMAL, ill=PNEUMONIA", cache=cache,
        )
    )  # fmt: skip
    report = read_json(folder / "results/external-elsewhere.json")
    assert report["n"] == 10 and report["protocol"] == "external"  # those of unknown class are left out
    assert {"AP", "PA"} <= set(report["groups"]["view"])
    assert load(folder).config.operating_point == before


def test_the_record_of_other_films_is_not_replaced(folder, cache, tmp_path):
    path = folder / "results/official-val.json"
    before = path.read_bytes()
    with pytest.raises(ValueError, match="dataset 'phantom:120', not 'phantom:20'"):
        evaluate_script.run(evaluate_script.Arguments(str(folder), "phantom:20", split="val", cache=cache))
    claimed = {"dataset_name": SOURCE, "split": "val", "cache": cache}
    with pytest.raises(ValueError, match="predictions of other films"):
        evaluate_script.run(evaluate_script.Arguments(str(folder), "phantom:20", **claimed))
    assert path.read_bytes() == before
    snapshot = tmp_path / "models--user--repo/snapshots/0123"
    shutil.copytree(folder, snapshot)
    with pytest.raises(ValueError, match="Hub's cache.*give a folder"):
        evaluate_script.run(evaluate_script.Arguments(str(snapshot), SOURCE, cache=cache))


def test_measuring_again_changes_only_what_the_films_add(folder, cache):
    path = folder / "results/official-val.json"
    before = read_json(path)
    frame = pd.read_parquet(folder / "predictions/official-val.parquet")
    frame.drop(columns=["digest"], errors="ignore").to_parquet(folder / "predictions/official-val.parquet")
    (folder / "results/official-val.json").write_text(json.dumps(before | {"metrics": {}}))
    reevaluate_script.run(reevaluate_script.Arguments(checkpoints=[str(folder)], dataset=SOURCE, cache=cache))
    after = read_json(path)
    assert after["metrics"] == before["metrics"] and after["n"] == before["n"]
    assert "suspect" in after
    with pytest.raises(ValueError, match="lacks 24 films of official-val.parquet"):
        reevaluate_script.run(reevaluate_script.Arguments(checkpoints=[str(folder)], dataset="phantom:40", cache=cache))


def test_the_stored_coverage_stays_and_the_config_learns_its_weights(folder, tmp_path):
    """An old config has neither counts nor the weights' hash; both come from what the folder holds."""
    copy = tmp_path / "old"
    shutil.copytree(folder, copy)
    run = lambda **more: reevaluate_script.run(  # noqa: E731
        reevaluate_script.Arguments(checkpoints=[str(copy)], results=False, **more)
    )
    run(coverage=0.8)
    stored = json.loads((copy / "config.json").read_text())
    assert stored["hf_pneumo"]["prediction_sets"]["coverage"] == 0.8
    counts = stored["hf_pneumo"].pop("evidence")
    assert stored["hf_pneumo"].pop("weights_sha256") == weights_sha256(copy / "model.safetensors")
    (copy / "config.json").write_text(json.dumps(stored))
    assert load(copy).config.operating_point.evidence == () and load(copy).config.weights_sha256 is None
    run()
    point = load(copy).config.operating_point
    labels = pd.read_parquet(copy / "predictions/official-val.parquet")["label"]
    assert point.sets.coverage == 0.8 and [list(own) for own in point.evidence] == counts
    assert point.evidence == ((int((labels == 1).sum()), int((labels == 0).sum())),)
    other = load_file(copy / "model.safetensors")
    save_file(
        {name: value * 1.5 for name, value in other.items()}, copy / "model.safetensors", metadata={"format": "pt"}
    )
    with pytest.raises(ValueError, match="not those that its predictions came from"):
        run()


def test_a_record_is_measured_again_without_weights_and_figures(folder, tmp_path):
    kept = tmp_path / "record"
    shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("model.safetensors", "figures"))
    path = kept / "results/official-val.json"
    before = read_json(path)
    path.write_text(json.dumps(before | {"metrics": {}}))
    reevaluate_script.run(reevaluate_script.Arguments(checkpoints=[str(kept)]))
    assert read_json(path)["metrics"] == before["metrics"] and not (kept / "figures").exists()
    with pytest.raises(ValueError, match="has no model.safetensors"):
        reevaluate_script.run(reevaluate_script.Arguments(checkpoints=[str(kept)], dataset=SOURCE))


def test_only_a_folder_can_be_added_to(tmp_path):
    with pytest.raises(ValueError, match="is no folder here"):
        fit_ood.run(fit_ood.Arguments(checkpoint="user/repo", dataset=SOURCE))
    with pytest.raises(ValueError, match="is no folder here"):
        reevaluate_script.run(reevaluate_script.Arguments(checkpoints=["user/repo"]))


def test_what_is_decided_after_training_goes_into_the_config(folder, cache, tmp_path):
    own = shutil.copytree(folder, tmp_path / "own")
    ages = {"ages": [18, 90], "views": ["ap", "PA"], "sites": ["one hospital"]}
    configure.run(configure.Arguments(checkpoint=str(own), **ages))
    map_ = {"layer": "stride16", "target": ["PNEUMONIA", "NORMAL"], "sizes": [48, 64], "smoothing": "flips"}
    asked = {"method": "hirescam", "within_lungs": True, "dataset": SOURCE, "cache": cache}
    configure.run(configure.Arguments(checkpoint=str(own), **map_, **asked))
    checkpoint = load(own)
    assert checkpoint.config.population.ages == (18, 90) and checkpoint.config.population.views == ("AP", "PA")
    assert checkpoint.config.map.sizes == (48, 64) and checkpoint.config.map.target == ("PNEUMONIA", "NORMAL")
    film = replace(make_phantom(3, opacities=1).film, age=7.0)
    found = Predictor(checkpoint, judge_anyway=True).predict(film)
    shown = found.explanation
    assert (shown.method, shown.target, shown.smoothing) == ("hirescam", "PNEUMONIA - NORMAL", "flips")
    assert shown.within_lungs and any("under 18" in note for note in found.notes)
    plain = Predictor(load(folder), judge_anyway=True).predict(film)
    assert plain.explanation.method == "gradcam" and np.allclose(plain.probability, found.probability)


def test_half_a_population_and_a_layer_without_films_are_refused():
    with pytest.raises(ValueError, match="all three"):
        configure.Arguments(checkpoint="c", ages=[1, 5])
    with pytest.raises(ValueError, match="`dataset`"):
        configure.Arguments(checkpoint="c", method="hirescam", layer="stride16")
    with pytest.raises(ValueError, match="nothing to write"):
        configure.Arguments(checkpoint="c")
