"""Binary, aetiology and multi-label checkpoints go through the same code: train, evaluate, explain, push, load."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import HfApi, ModelCard
from PIL import Image

from hf_pneumo.cli import explain as explain_script

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "space"), str(TESTS.parent / "space")]

import html_finding  # noqa: E402
import html_model  # noqa: E402
import predict  # noqa: E402
from made_up import dicom  # noqa: E402
from model_registry import Desk  # noqa: E402

from hf_pneumo import Predictor, load  # noqa: E402
from hf_pneumo.evaluation.classification.evaluate import EvaluationFiles, evaluate_films, open_subset  # noqa: E402
from hf_pneumo.evaluation.classification.label_metrics import measure_predictions  # noqa: E402
from hf_pneumo.evaluation.predictions import Predictions  # noqa: E402
from hf_pneumo.files import read_json  # noqa: E402
from hf_pneumo.hub.card import CardSource, model_card  # noqa: E402
from hf_pneumo.hub.push_model import push_checkpoint  # noqa: E402
from hf_pneumo.hub.upload import Destination  # noqa: E402
from hf_pneumo.reporting.checkpoint_report import read_report  # noqa: E402
from hf_pneumo.reporting.figures import draw_report  # noqa: E402
from hf_pneumo.serving.findings import findings_above  # noqa: E402
from hf_pneumo.training.config import TrainConfig  # noqa: E402
from hf_pneumo.training.run import train  # noqa: E402

OWNER = HfApi(token="hf_owner_write_token")
FILMS, SIDE = 200, 48
NAMES = {
    "pneumonia": ("NORMAL", "PNEUMONIA"),
    "aetiology": ("NORMAL", "BACTERIA", "VIRUS"),
    "multilabel": ("No Finding", "Edema", "Pneumonia", "Pneumothorax"),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """One table for all tasks; a bright upper, lower or left side is the finding. Every tenth film is a DICOM file."""
    folder = tmp_path_factory.mktemp("source")
    generator = np.random.default_rng(0)
    rows = []
    for i in range(FILMS):
        upper, lower = i % 4 == 1, i % 4 == 3 or i % 8 == 1
        pixels = generator.uniform(0.2, 0.4, (64, 64))
        pixels[:32] += 0.4 * upper
        pixels[32:] += 0.4 * lower
        name = f"{i:03d}_0." + ("dcm" if i % 10 == 0 else "png")
        if name.endswith("dcm"):
            (folder / name).write_bytes(dicom(pixels))
        else:
            Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(folder / name)
        rows.append(
            {
                "image": name, "sex": "FM"[i % 2], "age": 20 + i,
                "class": "VIRUS" if upper else "BACTERIA" if lower else "NORMAL", "sick": int(upper or lower),
                "No Finding": "" if upper or lower else 1, "Edema": 1 if upper else 0, "Fracture": "",
                "Pneumonia": -1 if i % 40 == 5 else int(lower), "Pneumothorax": int(i < 2),
            }
        )  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("pneumonia", "aetiology")]


@pytest.fixture(scope="module", params=["multilabel", *SLOW])
def folder(request, source, tmp_path_factory) -> Path:
    """A checkpoint of the task, trained for two epochs, with its test measured."""
    config = TrainConfig(
        dataset=str(source),
        task=request.param,
        label_column={"pneumonia": "sick", "aetiology": "class"}.get(request.param),
        protocol="strict",
        model="test_resnet",
        size=SIDE,
        epochs=2,
        batch_size=20,
        optimizer="adam",
        schedule="plateau",
        uncertain="u-ones-lsr",
        balance="class-balanced",
        output=str(tmp_path_factory.mktemp("runs") / request.param),
        cache=str(tmp_path_factory.mktemp("cache")),
    )
    done = train(config)
    checkpoint = load(done)
    films = open_subset(config.dataset, "strict", "test", checkpoint, cache=config.cache, progress=False)
    about = {"dataset": "made-up", "protocol": "strict", "subset": "test"}
    predictions, report = evaluate_films(
        checkpoint,
        films,
        about,
        EvaluationFiles.of(done, "strict-test"),
        resamples=20,
    )
    draw_report(done / "figures/strict-test", predictions, report)
    return done


def test_results_follow_from_the_predictions(folder):
    config, report = load(folder).config, read_json(folder / "results/strict-test.json")
    assert config.labels.names == NAMES[config.labels.task]  # the label that the table never gives is not learnt
    assert list(report["labels"]) == list(config.labels.score_names) and report["n"] >= 12
    predictions = Predictions.read(folder / "predictions/strict-test.parquet", config)
    assert "age" in predictions and "sex" in predictions
    again = measure_predictions(predictions, resamples=20).to_json()
    assert again["metrics"] == report["metrics"] and again["labels"] == report["labels"]
    drawn = {path.name for path in (folder / "figures/strict-test").glob("*.png")}
    assert {"roc.png", "pr.png", "reliability.png", "confusion.png"} <= drawn
    val = pd.read_parquet(folder / "predictions/strict-val.parquet")
    assert not set(val["patient"]) & set(predictions.patients)
    for name, own in report["labels"].items():
        if config.labels.exclusive:
            assert "at_half" not in own
        else:
            assert own["at_half"]["threshold"] == 0.5 and sum(map(sum, own["at_half"]["confusion"])) == own["n"]
            assert ("note" in own) == (name == "Pneumothorax")
            assert own["prevalence"] == own["positives"] / own["n"]
    assert (
        report["metrics"]["auroc"]["low"] <= report["metrics"]["auroc"]["value"] <= report["metrics"]["auroc"]["high"]
    )


def test_every_label_can_be_explained(folder, source, tmp_path):
    names = load(folder).config.labels.names
    (tmp_path / "in").mkdir()
    for name in ("010_0.dcm", "011_0.png"):
        (tmp_path / "in" / name).write_bytes((source / name).read_bytes())
    arguments = explain_script.Arguments(
        str(folder), str(tmp_path / "in"), str(tmp_path / "out"), target=names[-1], all_findings=True, judge_anyway=True
    )
    assert explain_script.run(arguments)
    rows = json.loads((tmp_path / "out/explanations.json").read_text())
    assert [row["target"] for row in rows] == [names[-1]] * 2
    predictor = Predictor(folder, judge_anyway=True)
    for row in rows:
        above = findings_above(predictor, predict.read_film(row["file"]))
        assert [own["target"] for own in row["findings"]] == [own.explanation.target for own in above]
        assert Image.open(tmp_path / f"out/{Path(row['file']).stem}-findings.png").width >= 300
        for own in above:
            assert own.is_called(own.explanation.target) or own.explanation.target not in own.scores


def test_it_is_published_and_loads_again(folder, source, hub, tmp_path):
    pushed = push_checkpoint(folder, Destination(f"owner/{folder.name}", token=OWNER.token), tmp_path / "staged")
    assert {"config.json", "README.md", "figures/strict-test/roc.png"} <= set(OWNER.list_repo_files(pushed.repo))
    film = source / "010_0.dcm"
    here, there = (Predictor(own, judge_anyway=True).predict(film) for own in (folder, pushed.repo))
    assert there.scores == pytest.approx(here.scores, abs=1e-6) and there.verdict == here.verdict
    index = ModelCard((tmp_path / "staged/README.md").read_text()).data.eval_results
    assert "AUROC" in {found.metric_name for found in index}  # the mean of several labels, whose own are in the card
    stored = json.loads((tmp_path / "staged/config.json").read_text())["problem_type"]
    assert stored == ("single" if load(folder).config.labels.exclusive else "multi") + "_label_classification"


def test_the_card_says_where_films_are_too_few(folder):
    card = model_card(CardSource(folder, "owner/x"))
    labels = load(folder).config.labels
    several = len(labels.score_names) > 1
    assert ("negative films are too few for figures" in card) == several
    assert ("F1 at 0.5" in card) == several and ("Each label has its own sigmoid" in card) == several
    assert "\n\n| made-up, strict test |" in card or not several


def test_the_page_shows_it(folder, source):
    desk = Desk(Predictor(folder, judge_anyway=True))
    labels = desk.checkpoint.config.labels
    film = str(source / "011_0.png")
    shown = predict.judge(film, desk, "gradcam", "", 0.5, False)
    text = html_finding.verdict(shown.outcome, desk.checkpoint)
    listed = labels.names if len(labels.names) > 2 else ()
    assert text.count("data-choice=") == len(listed)
    values = shown.outcome.scores if len(shown.outcome.scores) > 1 else shown.outcome.probabilities
    places = [text.index(f'data-choice="{n}"') for n in sorted(listed, key=lambda name: -values[name])]
    assert places == sorted(places)
    for name in labels.names:
        chosen = predict.judge(film, desk, "gradcam", name, 0.5, False, held=shown)
        assert chosen.outcome.explanation.target == name and chosen.outcome.film is shown.outcome.film
        if listed:
            text = html_finding.verdict(chosen.outcome, desk.checkpoint)
            assert f'data-choice="{name}" aria-pressed="true"' in text and text.count('aria-pressed="true"') == 1
        if chosen.outcome.verdicts.get(name) == "negative":
            assert not chosen.outcome.boxes
    told = html_model.about(desk.checkpoint, read_report(folder))
    assert ("Label by label, test" in told) == ("too few films for figures" in told) == (len(labels.score_names) > 1)
