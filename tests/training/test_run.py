"""Whole runs on phantoms: they learn, they resume exactly, also after a kill, and a finished one is not repeated."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset

from hf_pneumo.data.film_cache import Films
from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.files import read_json
from hf_pneumo.models.checkpoint import load
from hf_pneumo.models.inference import predict_logits
from hf_pneumo.training import loop
from hf_pneumo.training.config import TrainConfig, weights_name
from hf_pneumo.training.loop import Trainer, read_log
from hf_pneumo.training.run import RUN, make_network, train
from hf_pneumo.training.state import STATE

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("films"))


@pytest.fixture
def config(tmp_path, cache) -> TrainConfig:
    return TrainConfig(
        dataset="phantom:60",
        model="test_resnet",
        size=48,
        epochs=2,
        batch_size=6,
        dropout=0.1,
        ema_decay=0.9,
        augment="robust",
        save_every=4,
        output=str(tmp_path / "run"),
        cache=cache,
    )


def losses(folder: str) -> list[float]:
    return [row["loss"] for row in read_log(Path(folder)) if "loss" in row]


def test_a_run_leaves_a_checkpoint_that_loads(config):
    folder = train(config)
    assert not (folder / STATE).exists() and not (folder / RUN).exists()
    checkpoint = load(folder)
    record = checkpoint.config.training
    assert record.config["seed"] == 0 and record.best_epoch in (1, 2) and record.seconds >= 0
    assert checkpoint.config.data.films == {"train": 36, "val": 12, "test": 12}
    assert checkpoint.config.operating_point.fitted_on == "official/val"
    report = read_json(folder / "results" / "official-val.json")
    frame = pd.read_parquet(folder / "predictions" / "official-val.parquet")
    assert report["n"] == len(frame) == 12
    odds = checkpoint.config.labels.log_odds(np.stack(frame["logits"]), checkpoint.config.operating_point.temperature)
    assert np.allclose(1 / (1 + np.exp(-odds[:, 0])), frame["probability"])
    assert (folder / "figures" / "training.png").stat().st_size > 5000
    with pytest.raises(ValueError, match="--resume"):
        train(config)
    written = (folder / "model.safetensors").stat().st_mtime_ns
    train(replace(config, resume=True))
    assert (folder / "model.safetensors").stat().st_mtime_ns == written


def test_a_transformer_trained_at_another_size_loads_at_that_size(config):
    checkpoint = load(train(replace(config, model="test_vit", size=64, epochs=1)))
    assert checkpoint.network.patch_embed.img_size == (64, 64) and checkpoint.config.preprocess.size == (64, 64)


def test_an_interrupted_run_goes_on_with_the_same_losses(config, tmp_path, monkeypatch):
    whole = train(replace(config, output=str(tmp_path / "whole")))
    step = Trainer.step
    calls = []

    def interrupted(self, rows, side):
        calls.append(1)
        if len(calls) == 9:  # epoch 2, step 3; the last state is that of the end of epoch 1
            raise KeyboardInterrupt
        return step(self, rows, side)

    monkeypatch.setattr(Trainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    assert (Path(config.output) / STATE).exists()
    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(ValueError, match="--resume"):
        train(config)
    with pytest.raises(ValueError, match="seed was 0, is 1"):
        train(replace(config, resume=True, seed=1))
    train(replace(config, resume=True))
    assert losses(config.output) == losses(str(whole)) and len(losses(config.output)) == 12
    a, b = load(whole).network.state_dict(), load(config.output).network.state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)


KILLED = """
import os, signal, sys
from hf_pneumo.training.config import TrainConfig
from hf_pneumo.training.loop import Trainer
from hf_pneumo.training.run import train

step = Trainer.step
def killed(self, rows, side):
    if self.progress.step == 5:  # the last state is that of step 4
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, rows, side)
Trainer.step = killed
train(TrainConfig(**eval(sys.argv[1])))
"""


def test_a_run_killed_in_mid_epoch_goes_on_with_the_same_losses(config, tmp_path):
    config = replace(config, epochs=1)
    whole = train(replace(config, output=str(tmp_path / "whole")))
    done = subprocess.run([sys.executable, "-c", KILLED, repr(asdict(config))], cwd=ROOT, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert len(losses(config.output)) == 5 and not (Path(config.output) / "model.safetensors").exists()
    assert not list(Path(config.output).glob("*.part"))
    train(replace(config, resume=True))
    assert losses(config.output) == losses(str(whole)) and len(losses(config.output)) == 6


CHANGED = ("dataset", "model", "size", "batch_size", "dropout", "ema_decay", "augment", "save_every", "output", "cache")


def test_a_run_of_one_process_does_not_go_on_with_two(config, tmp_path):
    """Refused in one sentence, and the state is as it was."""
    config = replace(config, epochs=1)
    done = subprocess.run([sys.executable, "-c", KILLED, repr(asdict(config))], cwd=ROOT, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    before = (Path(config.output) / STATE).read_bytes()
    words = ["--epochs=1", "--resume", *(f"--{name}={getattr(config, name)}" for name in CHANGED)]
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        "scripts/train.py",
    ]
    env = os.environ | {"ACCELERATE_USE_CPU": "true"}  # `accelerate launch --cpu` starts one process, whatever is asked
    done = subprocess.run([*launch, *words], cwd=ROOT, capture_output=True, text=True, env=env)
    told = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode and told and "processes was 1, is 2" in told[0], done.stderr
    assert (Path(config.output) / STATE).read_bytes() == before


def test_early_stopping_counts_epochs_without_a_better_auroc(config, monkeypatch):
    monkeypatch.setattr(loop, "mean_auroc", lambda *_: 0.7)
    calls = iter(range(100))
    monkeypatch.setattr(
        "hf_pneumo.data.labels.LabelSet.negative_log_likelihood", lambda self, *_a, **_k: float(next(calls))
    )
    folder = train(replace(config, epochs=9, patience=2))
    assert load(folder).config.training.epochs_run == 3
    assert load(folder).config.training.best_epoch == 1


@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle", "plateau"])
def test_schedules_survive_a_resume(config, schedule, monkeypatch):
    config = replace(config, schedule=schedule, epochs=2, augment="none", ema_decay=0.0)
    epoch = Trainer._epoch
    monkeypatch.setattr(
        Trainer,
        "_epoch",
        lambda self, bar: epoch(self, bar) if self.progress.epoch == 0 else (_ for _ in ()).throw(KeyError),
    )
    with pytest.raises(KeyError):
        train(config)
    monkeypatch.setattr(Trainer, "_epoch", epoch)
    folder = train(replace(config, resume=True))
    rates = [row["lr"] for row in read_log(folder) if "lr" in row]
    assert len(rates) == 12 and max(rates) <= config.learning_rate * (1 + 1e-6)
    if schedule == "onecycle":
        assert rates[-1] < rates[2] / 100
    if schedule == "cosine":
        assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("steps", range(1, 8))
def test_the_one_cycle_schedule_rises_and_falls_in_however_few_steps(config, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = loop._schedule(optimizer, replace(config, schedule="onecycle"), steps)
    rates = []
    for _ in range(steps):
        optimizer.step()
        schedule.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert (
        all(0 < rate <= config.learning_rate * (1 + 1e-6) for rate in rates) and rates[-1] < config.learning_rate / 100
    )


def test_two_processes_measure_each_film_once_and_alike(config, tmp_path):
    """gloo on the CPU: the figures of 1 and of 2 processes are those of the same 12 test films."""
    folder = train(replace(config, epochs=1))
    reports, frames = [], []
    for processes in (1, 2):
        out = tmp_path / f"p{processes}"
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", str(processes)]
        if processes > 1:
            launch += ["--multi_gpu"] if torch.cuda.is_available() else []
        script = [
            "scripts/evaluate.py",
            "--checkpoint",
            str(folder),
            "--dataset",
            "phantom:60",
            "--cache",
            config.cache,
        ]
        done = subprocess.run(
            [*launch, *script, "--output", str(out)], cwd=ROOT, capture_output=True, text=True, env=os.environ
        )
        assert done.returncode == 0, done.stderr[-2000:]
        reports.append(json.loads((out / "results.json").read_text()))
        frames.append(pd.read_parquet(out / "predictions.parquet"))
    assert frames[0]["file_name"].is_unique and len(frames[0]) == 12
    assert frames[0]["file_name"].equals(frames[1]["file_name"])
    assert np.allclose(np.stack(frames[0]["logits"]), np.stack(frames[1]["logits"]), atol=1e-5)
    for name, found in reports[0]["metrics"].items():
        assert (
            found == pytest.approx(reports[1]["metrics"][name], abs=1e-5) if found else not reports[1]["metrics"][name]
        )


def test_small_first_epochs_of_a_transformer_and_of_a_network_that_allows_none():
    network = make_network(TrainConfig(model="test_vit", size=160, low_res_epochs=1, low_res_size=64), 2).eval()
    assert network(torch.zeros(1, 3, 64, 64)).shape == network(torch.zeros(1, 3, 160, 160)).shape == (1, 2)
    with pytest.raises(ValueError, match="`low_res_epochs`: mixer_s32_224 takes films of one size alone; give 0"):
        make_network(TrainConfig(model="mixer_s32_224", low_res_epochs=1, low_res_size=160), 2)


def test_a_record_names_files_without_their_place(tmp_path):
    start = tmp_path / "seven" / "resnet18-s0" / "model.safetensors"
    assert weights_name(start) == "resnet18-s0/model.safetensors"
    assert weights_name("weights/resnet18.safetensors") == "resnet18.safetensors"
    words = TrainConfig(init_weights=str(start), output=str(tmp_path / "run"), note="Begun small.").command()
    assert "--init-weights resnet18-s0/model.safetensors" in words and "--note 'Begun small.'" in words
    assert str(tmp_path) not in words
    assert "x" * 300 in TrainConfig(note="x" * 300).command()  # longer than any file's name may be
    assert "note" not in TrainConfig(note="Begun small.").record()  # words change no result, and need not be repeated


def test_a_run_on_lungs_alone_draws_views_and_classes_equally_and_answers_with_the_mirror(config):
    folder = train(replace(config, crop="lungs", augment="lungs", balance="view-sampler", mirror=True, epochs=1))
    preprocess = load(folder).config.preprocess
    assert preprocess.crop == "lungs" and preprocess.mirror and preprocess.mean == (0.0,) * 3
    film = torch.zeros(1, 48, 48, dtype=torch.uint8)
    film[:, 8:30, 6:20] = torch.randint(50, 200, (22, 14), dtype=torch.uint8)
    pair = np.concatenate([film.numpy(), film.flip(-1).numpy()])
    first, second = predict_logits(load(folder).network, pair, preprocess)
    assert np.allclose(first, second, atol=1e-5)


def test_groups_are_views_and_classes():
    films = Films(
        np.zeros((4, 2, 2)), Dataset.from_dict({"label": [0, 0, 1, 1], "view": ["AP", "PA", "AP", "AP"]}), (), ()
    )
    assert loop._groups(films, PNEUMONIA, "view-sampler").tolist() == [0, 2, 1, 1]
    assert loop._groups(films, PNEUMONIA, "sampler").tolist() == [0, 0, 1, 1]
    assert loop._groups(films, PNEUMONIA, "none") is None


def test_settings_that_do_not_suit_cut_films_are_refused():
    with pytest.raises(ValueError, match="low_res_epochs"):
        TrainConfig(crop="lungs", low_res_epochs=1)
    with pytest.raises(ValueError, match="--crop lungs"):
        TrainConfig(augment="lungs")
