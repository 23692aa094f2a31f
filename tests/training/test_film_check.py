"""The fit of the film check: a softmax by hand, a tiny run of the command, what it refuses."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from hf_pneumo.evaluation.classification.ood import package_pictures
from hf_pneumo.imaging.film_check import KINDS, SIDE
from hf_pneumo.imaging.phantom import phantoms
from hf_pneumo.training import film_check, other_pictures
from hf_pneumo.training.film_check import BACKBONE, FilmCheckConfig, FilmFeatures, Softmax, train_film_check


def test_the_softmax_tells_separable_kinds_apart_and_folds_into_one_linear_map():
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.arange(len(KINDS)), 30)
    features = 5 + 100 * np.eye(len(KINDS), 20)[kinds] + rng.standard_normal((len(kinds), 20))
    softmax = Softmax.fit(features, kinds)
    p = softmax.probabilities(features)
    assert softmax.weight.shape == (len(KINDS), 20) and np.allclose(p.sum(1), 1)
    assert (p.argmax(1) == kinds).all()
    assert softmax.accepted(features[kinds == 0]) == 1 and softmax.accepted(features[kinds == 5]) == 0


def weights(path):
    torch.manual_seed(0)
    save_file(timm.create_model(BACKBONE, pretrained=False).state_dict(), path)
    return str(path)


def test_the_command_measures_sources_and_kinds_that_were_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(film_check, "PHANTOMS", 4)
    few = {kind: paths[:2] for kind, paths in package_pictures().items()}
    monkeypatch.setattr(other_pictures, "package_pictures", lambda: few)
    for name, count in {"PIECES": 1, "PATTERNS": 6, "PAGES": 3, "LIMBS": 3, "PARTS": 4, "SIDES": 4}.items():
        monkeypatch.setattr(other_pictures, name, count)
    for i, phantom in enumerate(phantoms(9, seed=4, size=64)):
        folder = tmp_path / ("a/films" if i < 5 else "b/films")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(255 * phantom.pixels).astype(np.uint8)).save(folder / f"{i}.png")
    report = train_film_check(
        FilmCheckConfig(
            films=[str(tmp_path / "a/films")],
            strangers=[str(tmp_path / "b/films")],
            others=[str(tmp_path / "a/films/0.png")],
            init_weights=weights(tmp_path / "net.safetensors"),
            output=str(tmp_path / "check.onnx"),
            results=str(tmp_path / "check.json"),
        )
    )
    assert json.loads((tmp_path / "check.json").read_text()) == report and str(tmp_path) not in json.dumps(report)
    assert report["films learnt from"] == {"a/films": 5, "phantoms": 4}
    assert report["never seen"]["b/films"]["n"] == 4 and set(report["source left out"]) == {"a/films", "phantoms"}
    assert set(report["kind left out"]) == set(report["other pictures learnt from"])
    session = onnxruntime.InferenceSession((tmp_path / "check.onnx").read_bytes())
    (probabilities,) = session.run(None, {"film": np.zeros((1, 1, SIDE, SIDE), np.float32)})
    assert probabilities.shape == (1, len(KINDS)) and probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_other_weights_empty_folders_and_too_few_films_are_refused(tmp_path):
    with pytest.raises(ValueError, match="lacks"):
        FilmFeatures({"a": torch.zeros(1)})
    with pytest.raises(ValueError, match="holds no film"):
        film_check._films(str(tmp_path), np.random.default_rng(0))
    with pytest.raises(ValueError, match="5 or more"):
        FilmCheckConfig(films=[], init_weights="", most=4)
