"""Temperature, thresholds, ensemble weights and trivial models get no test film: spies on every fitting call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

from hf_pneumo.cli import ensemble as ensemble_script
from hf_pneumo.cli import evaluate as evaluate_script
from hf_pneumo.data.film_cache import Films
from hf_pneumo.evaluation.classification import calibration, fit_ensemble
from hf_pneumo.evaluation.classification.evaluate import open_subset
from hf_pneumo.files import read_json
from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.models.checkpoint import load
from hf_pneumo.training import run as training_run
from hf_pneumo.training.config import TrainConfig
from hf_pneumo.training.run import train

# A side is told by its number of films and of positives, which no other side has.
COUNTS = {"train": (24, 20), "val": (9, 5), "test": (7, 6)}
pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TrainConfig:
    folder, number = tmp_path_factory.mktemp("sides"), 0
    for side, counts in COUNTS.items():
        for name, count in zip(("NORMAL", "PNEUMONIA"), counts, strict=True):
            (folder / "films" / side / name).mkdir(parents=True)
            for _ in range(count):
                number += 1
                pixels = make_phantom(number, size=48, opacities=int(name != "NORMAL")).pixels
                Image.fromarray((pixels * 255).astype(np.uint8)).save(folder / "films" / side / name / f"{number}.png")
    return TrainConfig(
        dataset=str(folder / "films"), model="test_resnet", size=48, epochs=1, batch_size=8, augment="light",
        cache=str(folder / "cache"), output=str(folder / "a"),
    )  # fmt: skip


class Spy:
    """Stands before a fitting function and keeps the labels that it was given."""

    def __init__(self, function, position: int):
        self.function, self.position, self.seen = function, position, []

    def __call__(self, *arguments, **named):
        self.seen.append(np.asarray(arguments[self.position]))
        return self.function(*arguments, **named)

    def saw_only(self, side: str, views: int = 1) -> bool:
        wanted = [count * views for count in COUNTS[side]]
        return bool(self.seen) and all(np.bincount(labels.astype(int)).tolist() == wanted for labels in self.seen)


@pytest.fixture
def spies(monkeypatch) -> dict[str, Spy]:
    """On the operating point and the temperature, wherever they are called from."""
    found = {"point": Spy(calibration.fit_operating_point, 1), "temperature": Spy(calibration.fit_temperature, 1)}
    for module in (training_run, fit_ensemble):
        monkeypatch.setattr(module, "fit_operating_point", found["point"])
    for module in (calibration, fit_ensemble):
        monkeypatch.setattr(module, "fit_temperature", found["temperature"])
    for name in list(fit_ensemble.WEIGHTINGS):
        found[name] = Spy(fit_ensemble.WEIGHTINGS[name], 1)
        monkeypatch.setitem(fit_ensemble.WEIGHTINGS, name, found[name])
    return found


def test_sides_are_what_the_films_say(config):
    checkpoint = load(train(replace(config, output=str(Path(config.output).with_name("first")))))
    for side, counts in COUNTS.items():
        films = open_subset(config.dataset, "official", side, checkpoint, cache=config.cache, progress=False)
        assert np.bincount(films.table["label"]).tolist() == list(counts)


@pytest.mark.parametrize("views", [0, 2])
def test_training_fits_the_operating_point_on_val(config, spies, views):
    train(replace(config, output=str(Path(config.output).with_name(f"views-{views}")), calibration_views=views))
    assert spies["point"].saw_only("val", max(views, 1)) and spies["temperature"].saw_only("val", max(views, 1))


@pytest.mark.parametrize("weighting", ["uniform", "auroc", "stacked"])
def test_an_ensemble_is_fitted_on_val_and_measured_on_test(config, spies, weighting, tmp_path):
    members = [str(Path(config.output).with_name(f"member-{seed}")) for seed in (0, 1)]
    for seed, folder in enumerate(members):
        train(replace(config, output=folder, seed=seed, resume=True))
    for spy in spies.values():
        spy.seen.clear()
    arguments = ensemble_script.Arguments(
        checkpoints=members,
        dataset=config.dataset,
        output=str(tmp_path / "both"),
        weights=weighting,
        cache=config.cache,
    )
    ensemble_script.run(arguments)
    for name in ("point", "temperature", weighting):
        assert spies[name].saw_only("val"), name
    both = load(tmp_path / "both")
    assert both.config.operating_point.fitted_on == "official/val"
    report = read_json(tmp_path / "both/results/official-test.json")
    assert report["n"] == sum(COUNTS["test"]) and report["architecture"] == "2 x test_resnet"
    with pytest.raises(ValueError, match="holds a checkpoint"):
        ensemble_script.run(arguments)


def test_evaluation_fits_nothing_but_the_trivial_models_and_those_on_train(config, spies, monkeypatch, tmp_path):
    folder = train(replace(config, output=str(Path(config.output).with_name("first")), resume=True))
    for spy in spies.values():
        spy.seen.clear()
    fit = LogisticRegression.fit
    seen: list[np.ndarray] = []

    def spied(self, features, target, *rest):
        seen.append(np.asarray(target))
        return fit(self, features, target, *rest)

    monkeypatch.setattr(LogisticRegression, "fit", spied)
    evaluate_script.run(
        evaluate_script.Arguments(
            checkpoint=str(folder), dataset=config.dataset, output=str(tmp_path), cache=config.cache, controls=True
        )
    )
    assert not any(spy.seen for spy in spies.values())
    assert seen and all(np.bincount(target.astype(int)).tolist() == list(COUNTS["train"]) for target in seen)


def test_training_learns_from_train_and_chooses_by_val(config, monkeypatch):
    given: dict[str, Films] = {}
    trainer = training_run.Trainer

    def spied(config_, network, labels, preprocess, train_films, val_films, *rest):
        given.update(train=train_films, val=val_films)
        return trainer(config_, network, labels, preprocess, train_films, val_films, *rest)

    monkeypatch.setattr(training_run, "Trainer", spied)
    train(replace(config, output=str(Path(config.output).with_name("chosen"))))
    for side, films in given.items():
        assert np.bincount(films.table["label"]).tolist() == list(COUNTS[side])
        assert set(films.table["split"]) == {side}
