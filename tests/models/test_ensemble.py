"""Ensembles: the mean by hand, exact round trips, maps and cards, and nothing but validation films behind them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit

from hf_pneumo import Predictor
from hf_pneumo.data.labels import MULTILABEL, PNEUMONIA
from hf_pneumo.evaluation.classification.fit_ensemble import WEIGHTINGS, make_ensemble
from hf_pneumo.explain import explain
from hf_pneumo.hub.card import CardSource, metadata, model_card
from hf_pneumo.hub.push_model import stage
from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.imaging.reader import Xray
from hf_pneumo.models.checkpoint import Checkpoint, load, save
from hf_pneumo.models.classifier import build
from hf_pneumo.models.config import CheckpointConfig, OperatingPoint
from hf_pneumo.models.ensemble import Ensemble, architecture_of
from hf_pneumo.models.hub_download import CheckpointError
from hf_pneumo.models.member import Member
from hf_pneumo.models.tensors import to_tensor
from hf_pneumo.models.training_record import DataRecord, TrainingRecord

SPEC = Preprocess(size=(64, 64))
OTHER = replace(SPEC, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
POINT = OperatingPoint(1.1, (0.4,), ((0.3, 0.5),), "paper/val")


def network(seed: int, name: str = "test_resnet", labels: int = 2) -> torch.nn.Module:
    torch.manual_seed(seed)
    made = build(name, labels).eval()
    torch.nn.init.normal_(made.get_classifier().weight)
    return made


def member(name: str, weight: float, temperature: float, spec: Preprocess = SPEC, **how: object) -> Member:
    return Member(name, how.pop("architecture", "test_resnet"), weight, temperature, spec.mean, spec.std, **how)


@pytest.fixture
def pair() -> Ensemble:
    members = (member("a", 0.25, 2.0), member("b", 0.75, 0.5, OTHER, architecture="test_efficientnet"))
    return Ensemble([network(0), network(1, "test_efficientnet")], members, SPEC).eval()


@pytest.fixture
def folder(pair, tmp_path):
    config = CheckpointConfig(
        architecture_of(pair.records),
        PNEUMONIA,
        SPEC,
        operating_point=POINT,
        members=pair.records,
        data=DataRecord(source="x", protocol="paper"),
        training=TrainingRecord(command="hf-pneumo ensemble", weighting="uniform"),
    )
    return save(tmp_path / "both", pair, config)


def films(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 64, 64, generator=torch.Generator().manual_seed(5))


def test_logits_are_the_mean_by_hand(pair):
    gray = films()
    with torch.no_grad():
        a = pair.networks[0](to_tensor(SPEC, gray))
        b = pair.networks[1](to_tensor(OTHER, gray))  # each member gets the films as it was trained on them
        ours = pair(to_tensor(SPEC, gray))
    torch.testing.assert_close(ours, 0.25 * a / 2.0 + 0.75 * b / 0.5, atol=1e-4, rtol=1e-4)


def test_round_trip_is_exact(pair, folder):
    loaded = load(folder)
    x = to_tensor(SPEC, films())
    with torch.no_grad():
        assert torch.equal(loaded.network(x), pair(x))
    assert loaded.config.members == pair.records and loaded.config.operating_point == POINT
    assert loaded.config.architecture == "test_resnet + test_efficientnet"
    assert not loaded.config.is_plain_timm and not loaded.network.training
    again = save(folder.parent / "again", loaded.network, loaded.config)
    for name in ("config.json", "model.safetensors"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_a_damaged_record_is_told_in_one_sentence(folder):
    stored = json.loads((folder / "config.json").read_text())
    stored["hf_pneumo"]["members"][0].pop("weight")
    (folder / "config.json").write_text(json.dumps(stored))
    with pytest.raises(CheckpointError, match="is not complete: .*weight"):
        load(folder)


def test_maps_are_the_weighted_mean_of_the_members_maps(pair, folder):
    ensemble = load(folder).network
    gray = films(2)
    (first, second) = explain(ensemble, to_tensor(SPEC, gray), target="PNEUMONIA")
    a = explain(pair.networks[0], to_tensor(SPEC, gray), target=1)
    b = explain(pair.networks[1], pair.inputs_of(1, to_tensor(SPEC, gray)), target=1)
    for found, one, other in zip((first, second), a, b, strict=True):
        mean = 0.25 * one.heatmap + 0.75 * other.heatmap
        np.testing.assert_allclose(found.heatmap, mean / mean.max(), atol=1e-5)
        assert found.target == "PNEUMONIA" and found.grid.shape == one.grid.shape
    with torch.no_grad():
        logits = ensemble(to_tensor(SPEC, gray))
    np.testing.assert_allclose(np.stack([first.logits, second.logits]), logits, atol=1e-4)
    shares: list[float] = []
    predicted = explain(ensemble, to_tensor(SPEC, gray), method="eigencam", progress=shares.append)
    assert [e.target for e in predicted] == [PNEUMONIA.names[i] for i in logits.argmax(1)]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1)
    with pytest.raises(ValueError, match="vision transformer"):
        explain(ensemble, to_tensor(SPEC, gray), method="rollout")


def test_each_members_map_lies_where_its_own_cells_look(pair):
    records = tuple(replace(r, cam_offset=o) for r, o in zip(pair.records, ((-9.0, 3.0), (0.0, 6.0)), strict=True))
    moved = Ensemble(list(pair.networks), records, SPEC).eval()
    images = to_tensor(SPEC, films(1))
    a = explain(pair.networks[0], images, target=1, offset=(-9.0, 3.0))[0].heatmap
    b = explain(pair.networks[1], pair.inputs_of(1, images), target=1, offset=(0.0, 6.0))[0].heatmap
    found, even = explain(moved, images, target=1)[0].heatmap, explain(pair, images, target=1)[0].heatmap
    mean = 0.25 * a + 0.75 * b
    np.testing.assert_allclose(found, mean / mean.max(), atol=1e-5)
    assert np.abs(found - even).max() > 0.01
    plain, told = (explain(e, images, target=1, method="occlusion")[0].heatmap for e in (pair, moved))
    assert (plain == told).all()


def test_the_predictor_judges_with_an_ensemble(folder):
    film = Xray(make_phantom(3, size=150, opacities=1).pixels[:, :120], "PNG", 8)
    finding = Predictor(folder).predict(film, boxes_when_normal=True)
    assert finding.explanation.heatmap.shape == (150, 120) and finding.boxes
    plain = Predictor(folder).predict(film, method=None)
    assert finding.probability == pytest.approx(plain.probability, abs=1e-5)


def test_the_card_names_the_members_and_promises_no_foreign_loader(folder, tmp_path):
    card = model_card(CardSource(folder, "user/both"))
    assert "ensemble of 2 networks" in card and "| b | `test_efficientnet` | linear | 0.750 | 0.500 |" in card
    assert "import timm" not in card and "weighting: uniform." in card and "hf-pneumo ensemble" in card
    assert metadata(CardSource(folder, "user/both")).library_name == "hf_pneumo"
    assert stage(folder, "user/both", tmp_path / "staged") == []
    with torch.no_grad():
        assert torch.equal(
            load(tmp_path / "staged").network(to_tensor(SPEC, films())), load(folder).network(to_tensor(SPEC, films()))
        )


def test_what_makes_no_ensemble_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        Ensemble([network(0)], [member("a", 1.0, 1.0)], SPEC)
    with pytest.raises(ValueError, match="sum to 1"):
        Ensemble([network(0), network(1)], [member("a", 0.5, 1.0), member("b", 0.6, 1.0)], SPEC)


def informative(n: int = 600) -> tuple[list[np.ndarray], np.ndarray]:
    """Logits of a sharp member, a blunt one and one that only makes noise, for binary labels."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, n)
    odds = [generator.normal((2 * y - 1) * strength, 1.0) for strength in (1.2, 0.5, 0.0)]
    return [np.stack([-o / 2, o / 2], 1) for o in odds], y


def test_weights_follow_what_members_are_worth():
    logits, y = informative()
    assert WEIGHTINGS["uniform"](logits, y, PNEUMONIA) == pytest.approx([1 / 3] * 3)
    by_auroc, stacked = (WEIGHTINGS[name](logits, y, PNEUMONIA) for name in ("auroc", "stacked"))
    for weights in (by_auroc, stacked):
        assert weights.sum() == pytest.approx(1) and (weights >= 0).all() and weights[0] > weights[1] > weights[2]
    # Of independent unit normals at +-d the best linear score weighs each by d: 1.2 to 0.5 to 0.
    assert stacked == pytest.approx(np.array([1.2, 0.5, 0.0]) / 1.7, abs=0.06)
    worthless = [-z for z in logits[:2]] + [0 * logits[0]]
    assert WEIGHTINGS["auroc"](worthless, y, PNEUMONIA) == pytest.approx([1 / 3] * 3)


def test_weights_of_many_labels_leave_unknown_ones_out():
    generator = np.random.default_rng(1)
    truth = generator.normal(0, 2, (300, 14))
    y = (generator.random((300, 14)) < expit(truth)).astype(float)
    y[:40, 3] = np.nan
    members = [truth, generator.normal(0, 2, (300, 14))]
    weights = WEIGHTINGS["stacked"](members, y, MULTILABEL)
    assert weights[0] > 0.95 and weights.sum() == pytest.approx(1)


def checkpoint(name: str, seed: int, **changes: object) -> Checkpoint:
    values = {"preprocess": SPEC, "data": DataRecord(source="x", protocol="paper"), "labels": PNEUMONIA, **changes}
    config = CheckpointConfig("test_resnet", **values)
    return Checkpoint(config, name, None, None, network=network(seed, labels=len(config.labels.names)))


def fit(*checkpoints: Checkpoint, protocol: str = "paper", weighting: str = "uniform"):
    gray = (films(20).numpy() * 255).astype(np.uint8)
    return make_ensemble(
        checkpoints,
        gray,
        np.arange(20) % 2,
        weighting=weighting,
        by="accuracy",
        protocol=protocol,
        fitted_on="paper/val",
        training=TrainingRecord(),
    )


def test_an_ensemble_is_fitted_from_checkpoints():
    made, config = fit(checkpoint("a", 0), checkpoint("b", 1, preprocess=OTHER), weighting="stacked")
    assert config.architecture == "2 x test_resnet" and config.head == "linear"
    assert [m.name for m in config.members] == ["a", "b"] and sum(m.weight for m in config.members) == pytest.approx(1)
    assert config.operating_point.fitted_on == "paper/val" and made.inputs_of(0, films()[:, None]).shape[0] == 3


@pytest.mark.parametrize(
    ("other", "how", "says"),
    [
        ({"preprocess": replace(SPEC, size=(96, 96))}, {}, "prepare films differently .size."),
        ({"preprocess": replace(SPEC, crop=(0.1, 0.9, 0.2, 0.8))}, {}, "prepare films differently .crop."),
        ({"labels": MULTILABEL}, {}, "different labels"),
        ({}, {"protocol": "strict"}, "training films would be measured"),
        ({}, {"weighting": "best"}, "uniform, auroc, stacked"),
    ],
)
def test_members_that_do_not_fit_are_refused(other, how, says):
    with pytest.raises(ValueError, match=says):
        fit(checkpoint("a", 0), checkpoint("b", 1, **other), **how)


def test_a_copy_of_the_folder_loads_alone(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert load(tmp_path / "elsewhere").network.records == load(folder).network.records
