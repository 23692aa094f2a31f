"""A study on phantoms: interrupted, continued, never repeated; one backbone that cannot be trained does not stop it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from accelerate import Accelerator
from datasets import Dataset
from PIL import Image
from scipy.special import expit

from hf_pneumo.cli import evaluate, run_study, train
from hf_pneumo.cli.main import run_command
from hf_pneumo.cli.options import parse
from hf_pneumo.data.labels import MULTILABEL
from hf_pneumo.evaluation.classification.label_metrics import measure_predictions
from hf_pneumo.evaluation.predictions import Predictions
from hf_pneumo.experiments.recompute import checkpoint_differences, study_differences
from hf_pneumo.experiments.study import Study, as_words, carry_out, keep_record, overridden, read_record, read_study
from hf_pneumo.experiments.summary import write_summary
from hf_pneumo.experiments.time_estimate import Speed, in_words
from hf_pneumo.files import read_json, write_json
from hf_pneumo.imaging.phantom import make_phantom
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.checkpoint import save
from hf_pneumo.models.classifier import PAPER_BACKBONES, build
from hf_pneumo.models.config import CheckpointConfig, OperatingPoint
from hf_pneumo.models.inference import warn_of_idle_cores
from hf_pneumo.models.torchvision_weights import NETWORKS
from hf_pneumo.models.training_record import TrainingRecord
from hf_pneumo.training.config import TrainConfig
from hf_pneumo.training.loop import Trainer, read_log

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "scripts/configs").glob("*.yaml"))
pytestmark = pytest.mark.usefixtures("quick")


def in_process(script: str, words: list[str], log: Path) -> str | None:
    """What `run_study.launch` does, without the seconds that a process of its own takes."""
    module, config = {"train": (train, TrainConfig), "evaluate": (evaluate, evaluate.Arguments)}[script]
    parsed = parse(config, words, prog="hf-pneumo", description="")
    try:
        module.run(parsed)
    except (ValueError, OSError) as error:
        return str(error)
    return None


@pytest.fixture(scope="module")
def study_file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    for i in range(60):
        of_class = folder / "films" / ("train", "train", "train", "val", "test")[i % 5] / ("NORMAL", "PNEUMONIA")[i % 2]
        of_class.mkdir(parents=True, exist_ok=True)
        pixels = make_phantom(i, size=48, opacities=i % 2).pixels
        Image.fromarray((pixels * 255).astype(np.uint8)).save(of_class / f"{i}.png")
    settings = {
        "output": str(folder / "runs"),
        "models": ["test_resnet", "test_efficientnet"],
        "seeds": [0, 1],
        "init_weights": {"test_efficientnet": str(folder / "none.safetensors")},
        "controls": True,
        "train": {
            "dataset": str(folder / "films"),
            "size": 48,
            "epochs": 2,
            "batch_size": 6,
            "augment": "none",
            "cache": str(folder / "cache"),
        },
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(settings))
    return folder / "tiny.yaml"


@pytest.fixture(scope="module")
def done(study_file, quick) -> Path:
    """The study after a first start that was interrupted in the second model's place, and a second one to the end."""
    step, steps = Trainer.step, []

    def interrupted(self, rows, side):
        steps.append(1)
        if len(steps) == 20:  # seed 0 is trained in 12 steps; this is in the second epoch of seed 1
            raise KeyboardInterrupt
        return step(self, rows, side)

    study = read_study(study_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(carry_out(study, in_process))
    assert [r.is_finished for r in study.runs()] == [True, False, False, False]
    calls: list[tuple[str, str]] = []

    def counted(script, words, log):
        calls.append(
            (script, Path(words[words.index("--checkpoint" if script == "evaluate" else "--output") + 1]).name)
        )
        return in_process(script, words, log)

    assert [r.is_finished for r in carry_out(study, counted)] == [False, True, False]
    assert ("train", "test_resnet-s0") not in calls and ("train", "test_resnet-s1") in calls
    write_summary(study, title="tiny", resamples=20)
    return Path(study.output)


def test_an_interrupted_run_goes_on_and_gives_what_a_whole_one_gives(done, study_file, tmp_path):
    run = read_study(study_file).runs()[2]
    assert (run.model, run.seed) == ("test_resnet", 1)
    whole = train.train(replace(run.config, output=str(tmp_path / "whole")))
    losses = [[row.get("loss") for row in read_log(folder)] for folder in (whole, run.folder)]
    assert losses[0] == losses[1]


def test_nothing_is_done_twice(done, study_file):
    study = overridden(read_study(study_file), models=["test_resnet"])
    asked: list[str] = []
    list(carry_out(study, lambda script, words, log: asked.append(script)))
    assert not asked
    changed = overridden(study, learning_rate=0.1)
    with pytest.raises(ValueError, match="learning_rate was 0.0003, is 0.1"):
        list(carry_out(changed, in_process))


def test_the_table_has_means_spreads_controls_and_the_reason_of_a_failure(done):
    table = pd.read_csv(done / "summary.csv").set_index("model")
    reports = [read_json(done / f"test_resnet-s{seed}/results/official-test.json") for seed in (0, 1)]
    own = table.loc["test_resnet"]
    for metric in ("auroc", "accuracy", "ece"):
        values = pd.Series([report["metrics"][metric]["value"] for report in reports])
        assert own[f"{metric}_mean"] == pytest.approx(values.mean()) and own[f"{metric}_sd"] == pytest.approx(
            values.std()
        )
    assert own["errors_mean"] == sum(report["errors"] for report in reports) / 2
    assert own["seeds"] == 2 and own["parameters"] > 0 and own["initial_weights"] == "random"
    failed = table.loc["test_efficientnet"]
    assert failed["seeds"] == 0 and failed["note"].startswith("seeds 0, 1: `init_weights`")
    text = (done / "summary.md").read_text()
    assert "2 of 2" in text and "0 of 2" in text and "*trivial: majority class*" in text and " ± " in text
    assert len(list(done.glob("*/results/official-test-baselines.json"))) == 1
    assert (done / "summary-test.png").stat().st_size > 5000


def test_a_record_without_weights_gives_the_same_figures_again(done, study_file, tmp_path):
    study = read_study(study_file)
    shutil.copytree(done, tmp_path / "runs")
    shutil.copytree(done / "test_resnet-s0", tmp_path / "runs/two")  # another checkpoint beside the runs
    kept = keep_record(replace(study, output=str(tmp_path / "runs")), tmp_path / "kept")
    assert kept == read_record(tmp_path / "kept") and kept.train["dataset"] == "films"
    assert not list((tmp_path / "kept").rglob("*.safetensors"))
    assert str(tmp_path) not in (tmp_path / "kept/study.yaml").read_text()
    with pytest.raises(ValueError, match="`record` .* is where the runs are"):
        keep_record(kept, kept.output)
    write_summary(kept, title="kept")
    table = pd.read_csv(tmp_path / "kept/summary.csv")
    pd.testing.assert_frame_equal(table[:2], pd.read_csv(done / "summary.csv"))
    assert list(table["model"]) == ["test_resnet", "test_efficientnet", "two"]
    assert (tmp_path / "kept/comparison-test.md").read_text().count("test_resnet-s0") > 1  # the copy's results say so
    assert list(study_differences(kept)) == []
    assert "0 of 2" in (tmp_path / "kept/summary.md").read_text()
    path = tmp_path / "kept/test_resnet-s1/results/official-test.json"
    report = read_json(path)
    report["errors"] += 1
    write_json(path, report)
    assert any("errors_mean is" in line for line in study_differences(kept))
    assert any("errors is" in line for line in checkpoint_differences(path.parents[1]))


def test_several_labels_are_compared_label_by_label(tmp_path):
    study = Study(str(tmp_path), ("test_resnet", "test_vit"), (0,), {"task": "multilabel", "protocol": "strict"})
    generator = np.random.default_rng(0)
    truth = generator.normal(0, 2, (150, 14))
    labels = (generator.random(truth.shape) < expit(truth)).astype(np.float32)
    labels[:, 3] = 0
    columns = {"file_name": [f"{i}.png" for i in range(150)], "patient": [f"p{i}" for i in range(150)]}
    table = Dataset.from_dict({**columns, "subgroup": [None] * 150, "view": [None] * 150, "label": labels.tolist()})
    point = OperatingPoint(1.0, (0.5,) * 14)
    for run, noise in zip(study.runs(), (0.0, 5.0), strict=True):
        predictions = Predictions.of(table, truth + generator.normal(0, noise, truth.shape), MULTILABEL, point)
        record = TrainingRecord(parameters=10, initial_weights="random", seconds=3, hardware="cpu")
        config = CheckpointConfig(run.model, MULTILABEL, Preprocess(), operating_point=point, training=record)
        save(run.folder, build(run.model, 14), config)
        predictions.write(run.folder / "predictions/strict-test.parquet")
        report = measure_predictions(predictions, {"model": run.folder.name}, resamples=20)
        report.write(run.results("test"))
    written = {path.name for path in write_summary(study, title="many", resamples=100)}
    text = (tmp_path / "summary.md").read_text()
    assert {"labels-test.png", "comparison-test.json", "summary-test.png"} <= written
    row = next(line for line in text.splitlines() if line.startswith(f"| {MULTILABEL.names[0]} "))
    assert "told apart" in row and row.count(" to ") == 3
    assert "too few films" in next(line for line in text.splitlines() if line.startswith(f"| {MULTILABEL.names[3]} "))


def test_the_command_says_the_time_and_trains_nothing(study_file, tmp_path, capsys, monkeypatch):
    """Also of models that one process trains in different precisions."""
    values = yaml.safe_load(study_file.read_text())
    values |= {"models": ["test_resnet", "test_vit"], "per_model": {"test_vit": {"mixed_precision": "bf16"}}}
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({**values, "init_weights": {}}))
    monkeypatch.setattr(
        sys, "argv", ["run_study.py", "--config", str(file), "--output", str(tmp_path / "o"), "--dry-run"]
    )
    with pytest.raises(SystemExit) as ended:
        run_command("study", sys.argv[1:])
    told = capsys.readouterr().out
    assert ended.value.code == 0 and "4 runs on 36 train, 12 val, 12 test films" in told
    assert "test_resnet: " in told and "test_vit: " in told and "expected time on this machine" in told
    assert not (tmp_path / "o").exists()
    assert Accelerator().mixed_precision == "no"  # bf16 was the timed one's alone


def test_a_single_thread_of_several_is_told_and_all_are_asked_for(monkeypatch, caplog):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(4))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    warn_of_idle_cores(Accelerator(cpu=True))
    assert "one CPU thread of 4; accelerate launch --num_cpu_threads_per_process 4" in caplog.text
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    caplog.clear()
    warn_of_idle_cores(Accelerator(cpu=True))
    assert not caplog.text
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run_study.threads() == ["--num_cpu_threads_per_process", "3"]


def test_expected_seconds_by_hand():
    config = TrainConfig(epochs=5, low_res_epochs=2)
    speed = Speed(parameters=1, train=0.4, small=0.1, infer=0.01)
    seconds = speed.expected(config, {"train": 100, "val": 20, "test": 30})
    assert seconds == pytest.approx(100 * (2 * 0.1 + 3 * 0.4) + (20 + 30 + 5 * 20) * 0.01)
    assert [in_words(s) for s in (40, 600, 12000)] == ["40 s", "10 min", "3 h 20 min"]


def test_reasons_are_read_from_what_a_process_said():
    assert (
        run_study.reason("x\nerror: no such file\nTraceback\nsubprocess.CalledProcessError: Command", 1)
        == "no such file"
    )
    killed = "subprocess.CalledProcessError: Command '[...]' died with <Signals.SIGKILL: 9>."
    assert run_study.reason(f"12%|#\r13%|#\n{killed}", 1) == "killed by SIGKILL, as when memory runs out"
    assert run_study.reason("KeyError: 'x'\nsubprocess.CalledProcessError: y", 1) == "KeyError: 'x'"
    assert run_study.reason("", 3) == "ended with status 3"


def test_words_give_the_config_back():
    config = TrainConfig(model="resnet50", pretrained=True, learning_rate=1e-5, cache="a b", resume=True, train_last=2)
    assert parse(TrainConfig, as_words(config), prog="hf-pneumo train", description="") == config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_a_study_whose_first_comment_gives_command_and_expectation(path):
    runs = read_study(path).runs()
    assert runs and len({run.folder for run in runs}) == len(runs)
    comment = path.read_text().partition("\noutput:")[0]
    assert f"--config scripts/configs/{path.name}" in comment.splitlines()[0] and "Expected" in comment


def settings(name: str, **changed) -> dict[str, dict]:
    """The record of each model of a config's first seed, with some fields as given."""
    runs = read_study(ROOT / f"scripts/configs/{name}.yaml").runs()
    return {run.model: run.config.record() | {"seed": 42} | changed for run in reversed(runs)}


def test_the_papers_conditions():
    runs = read_study(ROOT / "scripts/configs/paper.yaml").runs()
    assert [run.model for run in runs] == list(PAPER_BACKBONES)
    assert len({json.dumps({**r.config.record(), "model": "", "dropout": 0}) for r in runs}) == 1
    own = {run.model: run.config.dropout for run in runs}
    assert own == {name: network.dropout for name, network in NETWORKS.items()}
    config = runs[0].config
    assert (config.head, config.weights_of, config.augment, config.size) == ("paper", "torchvision", "paper", 224)
    assert (config.optimizer, config.learning_rate, config.weight_decay) == ("adam", 1e-4, 1e-4)
    assert (config.schedule, config.max_grad_norm, config.ema_decay, config.label_smoothing) == ("constant", 0, 0, 0)
    assert (config.batch_size, config.epochs, config.patience, config.seed) == (32, 10, 3, 42)
    assert (config.loss, config.focal_gamma, config.focal_alpha) == ("focal", 2.0, "inverse")
    assert (config.balance, config.choose_by, config.threshold_by) == ("sampler", "accuracy", "half")


def test_fair_changes_three_settings_and_the_others_none():
    paper = settings("paper")
    changes = {"balance": "none", "choose_by": "auroc", "threshold_by": "accuracy"}
    assert settings("paper-fair") == {model: record | changes for model, record in paper.items()}
    strict = settings("strict", protocol="paper")
    assert strict == {model: paper[model] for model in strict} and len(strict) == 5


def test_the_small_study_has_both_recipes():
    recipes = {name: settings(name)["mobilenet_v2"] for name in ("paper", "paper-fair")}
    for run in read_study(ROOT / "scripts/configs/paper-small.yaml").runs():
        theirs = recipes["paper-fair" if run.variant == "fair" else "paper"] | {"seed": run.seed, "model": run.model}
        weights = "torchvision" if run.model == "mobilenet_v2" else "timm"
        assert run.config.record() == theirs | {"weights_of": weights}


def test_the_seven_are_taught_alike_whatever_their_precision():
    study = read_study(ROOT / "scripts/configs/seven.yaml")
    records = [{**run.config.record(), "model": "", "mixed_precision": ""} for run in study.runs()]
    assert len(records) == 7 and all(record == records[0] for record in records)
    assert {run.model: run.config.mixed_precision for run in study.runs()}["vit_b_16"] == "bf16"
    few = overridden(study, models=["vit_b_16", "mobilenet_v2"], teacher="a/teacher")
    assert list(few.per_model) == ["vit_b_16"] and {run.config.teacher for run in few.runs()} == {"a/teacher"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"train": {"speed": 1}}, "unknown keys .'speed'.; known are"),
        ({"train": {"seed": 1}}, "unknown keys .'seed'."),
        ({"models": []}, "`models` is .*at least one"),
        ({"splits": ["tests"]}, "choose from train, val, test"),
        ({"extra": 1}, "unknown keys .'extra'."),
        ({"init_weights": {"resnet18": "x"}}, "not among the models"),
        ({"per_model": {"resnet18": {}}}, "`per_model` names .'resnet18'., which are not among"),
        ({"per_model": {"test_resnet": {"seed": 1}}}, "`per_model.test_resnet` has unknown keys .'seed'."),
    ],
)
def test_what_is_wrong_in_a_file_is_told_in_one_sentence(study_file, tmp_path, changes, says):
    values = yaml.safe_load(study_file.read_text()) | changes
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ValueError, match=says):
        read_study(tmp_path / "x.yaml")


def test_weights_on_the_command_line_take_the_place_of_pretrained():
    study = read_study(ROOT / "scripts/configs/fast.yaml")
    mapped = overridden(study, init_weights=["mobilenetv2_100=a/b.safetensors"], seeds=[7])
    lite, mobile = mapped.runs()
    assert lite.config.pretrained and not mobile.config.pretrained
    assert mobile.config.init_weights == "a/b.safetensors" and mobile.seed == 7
    with pytest.raises(ValueError, match="MODEL=FILE"):
        overridden(study, init_weights=["mobilenetv2_100"])
    with pytest.raises(ValueError, match="not among the models"):
        overridden(study, init_weights=["resnet18=x"])


@pytest.mark.slow
def test_the_command_launches_processes_and_tells_why_one_failed(study_file, tmp_path):
    words = ["--config", study_file, "--output", tmp_path / "o", "--seeds", 0]
    command = [sys.executable, "scripts/run_study.py", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr[-2000:]
    assert "test_efficientnet-s0 failed: `init_weights`" in done.stdout and "| test_resnet | " in done.stdout
    assert "expected time on this machine" in done.stdout and (tmp_path / "o/test_resnet-s0/output.log").is_file()
