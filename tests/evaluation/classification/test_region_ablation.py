"""What a network says of a film of which parts are hidden: known answers from networks that look at one place only."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import nn

from hf_pneumo.data.film_cache import Films
from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.data.sources import load_xrays
from hf_pneumo.evaluation.classification.baselines import frozen_features, measure_baselines
from hf_pneumo.evaluation.classification.region_ablation import (
    REGIONS,
    RegionAblationReport,
    measure_regions,
    only,
    outlines,
    predict_regions,
    region_files,
    with_whole_films,
    write_regions,
)
from hf_pneumo.evaluation.predictions import Predictions
from hf_pneumo.imaging.lungs import find_lungs
from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.imaging.preprocess import CROPS, Preprocess
from hf_pneumo.models.checkpoint import Checkpoint
from hf_pneumo.models.config import CheckpointConfig

BORDER, OUTSIDE, LUNGS = REGIONS


class Brightest(nn.Module):
    """Calls a film positive when the brightest pixel of one part of it is white."""

    def __init__(self, part: tuple[slice, slice]):
        super().__init__()
        self.part, self.weight = part, nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = 10 * (x[:, 0][(slice(None), *self.part)].flatten(1).amax(1) - 0.99)
        return torch.stack([-score, score], 1)


def checkpoint(tmp_path, part, crop=None) -> Checkpoint:
    spec = Preprocess(size=(96, 96), crop=crop, mean=(0, 0, 0), std=(1, 1, 1))
    config = CheckpointConfig("test_resnet", PNEUMONIA, spec)
    return Checkpoint(config, "spot", None, tmp_path, network=Brightest(part))


@lru_cache(maxsize=1)
def phantom_films() -> tuple[Dataset, np.ndarray]:
    gray = [np.rint(make_phantom(i, size=96).pixels * 200).astype(np.uint8) for i in range(20)]
    return load_xrays("phantom:20").remove_columns("image"), np.stack(gray)


def films(row: int, column: int) -> Films:
    """Twenty phantoms, the positive ones with a white spot at one place."""
    table, gray = phantom_films()
    gray = gray.copy()
    gray[np.array(table["label"]) == 1, row : row + 3, column : column + 3] = 255
    return Films(gray, table, tuple(map(str, range(20))), ())


def auroc(checkpoint: Checkpoint, films: Films) -> dict[str, float]:
    report = measure_regions(predict_regions(checkpoint, films), resamples=5)
    return {name: report.regions[name].metrics["auroc"].value for name in REGIONS}


def test_a_network_that_looks_at_the_border_is_found_out(tmp_path):
    found = auroc(checkpoint(tmp_path, np.s_[:4, :]), films(0, 2))
    assert found == {BORDER: 1, OUTSIDE: 1, LUNGS: pytest.approx(0.5, abs=0.15)}


def test_a_network_that_looks_at_the_lungs_needs_them(tmp_path):
    found = auroc(checkpoint(tmp_path, np.s_[20:76, 10:86]), films(44, 30))
    assert found[LUNGS] == 1
    assert found[BORDER] == pytest.approx(0.5, abs=0.15) and found[OUTSIDE] == pytest.approx(0.5, abs=0.15)


def test_a_crop_never_shows_the_border(tmp_path):
    found = auroc(checkpoint(tmp_path, np.s_[:, :], CROPS["lung"]), films(0, 2))
    assert found[BORDER] == pytest.approx(0.5, abs=0.15)


def test_what_is_hidden_says_nothing():
    film = films(44, 30).gray[0]
    box = find_lungs(film).box
    for region in REGIONS.values():
        shown = region(film.shape, box)
        other = np.where(shown, film, 255 - film)
        assert np.array_equal(only(film, shown), only(other, shown))
    assert (only(film, np.zeros(film.shape, bool)) == 128).all()
    assert not (REGIONS[OUTSIDE](film.shape, box) & REGIONS[LUNGS](film.shape, box)).any()


def test_films_without_lungs_are_counted(tmp_path):
    own = films(44, 30)
    own.gray[0] = 7
    predictions = predict_regions(checkpoint(tmp_path, np.s_[:, :]), own)
    assert len(predictions) == 3 * 20 and predictions.frame["lungs_found"].sum() == 3 * 19
    assert measure_regions(predictions, resamples=5).lungs_found == 0.95


def test_figures_can_be_computed_again_from_the_files(tmp_path):
    spot = checkpoint(tmp_path, np.s_[:, :])
    predictions = predict_regions(spot, films(0, 2))
    report = measure_regions(predictions, "test", resamples=5)
    write_regions(tmp_path, "official-test", predictions, report)
    ((parquet, path),) = region_files(tmp_path)
    again = measure_regions(Predictions.read(parquet, spot.config), "test", resamples=5)
    assert RegionAblationReport.read(path) == again == report


def test_whole_films_are_read_without_the_crop(tmp_path):
    cropped = checkpoint(tmp_path, np.s_[:], CROPS["adaptive"])
    whole = with_whole_films(cropped)
    assert whole.config.preprocess.crop is None and cropped.config.preprocess.crop == "adaptive"
    assert whole.network is cropped.network


def test_frozen_features_are_one_more_control(tmp_path):
    from safetensors.torch import save_file

    from hf_pneumo.models.classifier import build

    torch.manual_seed(0)
    save_file(build("test_resnet", 2).state_dict(), tmp_path / "weights.safetensors")
    few = films(44, 30)
    features = frozen_features("test_resnet", tmp_path / "weights.safetensors")(few.gray)
    assert features.shape[0] == 20 and features.ndim == 2
    weights = tmp_path / "weights.safetensors"
    found = measure_baselines(few, few, PNEUMONIA, backbone="test_resnet", weights=weights, resamples=5)
    assert found.models["frozen ImageNet features of test_resnet"].value("accuracy") > 0.9


def test_of_cut_films_the_outline_alone_is_left():
    rng = np.random.default_rng(0)
    gray = np.zeros((6, 32, 32), np.uint8)
    for i in range(6):
        gray[i, 4 : 20 + i, 4:28] = rng.integers(30 * (i + 1), 30 * (i + 1) + 20, (16 + i, 24))
    shown = outlines(gray)
    assert np.array_equal(shown > 0, gray > 0)
    shared = (gray > 0).all(0)
    assert all(np.array_equal(shown[0][shared], film[shared]) for film in shown)  # the same picture in all of them


def test_the_outline_of_the_lungs_is_a_trivial_model_of_cut_films():
    rng = np.random.default_rng(0)
    gray = np.zeros((40, 32, 32), np.uint8)
    labels = [i % 2 for i in range(40)]
    for i, ill in enumerate(labels):
        gray[i, 4 : 16 if ill else 28, 4:28] = rng.integers(50, 200, (12 if ill else 24, 24))
    table = {"label": labels, "patient": [f"p{i}" for i in range(40)], "view": ["AP", "PA"] * 20}
    films = Films(gray, Dataset.from_dict(table), (), ())
    found = measure_baselines(films, films, PNEUMONIA, cut=True, resamples=5).models
    assert found["outline of the lungs"].value("auroc") == 1
    assert found["view alone, AP or PA"].value("auroc") == 1
    assert "outline of the lungs" not in measure_baselines(films, films, PNEUMONIA, resamples=5).models
