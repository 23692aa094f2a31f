"""A teacher's lesson: its own answer costs nothing, its map is learnt cell by cell, and no checkpoint teaches what it
must not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from scipy.special import log_softmax, softmax

from hf_pneumo.data.labels import AETIOLOGY, PNEUMONIA
from hf_pneumo.experiments.summary import Entry, summary_row
from hf_pneumo.imaging.preprocess import CROPS
from hf_pneumo.models.checkpoint import load
from hf_pneumo.models.tensors import to_tensor
from hf_pneumo.models.training_record import TeacherRecord
from hf_pneumo.training.config import TrainConfig
from hf_pneumo.training.distillation import TEMPERATURE, Teacher, answer_distance
from hf_pneumo.training.loop import Trainer, read_log
from hf_pneumo.training.run import make_network, make_preprocess, train


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TrainConfig:
    """A student's run, whose teacher is trained first."""
    folder = tmp_path_factory.mktemp("distillation")
    common = {"dataset": "phantom:60", "size": 48, "epochs": 2, "batch_size": 6, "cache": str(folder / "films")}
    teacher = train(TrainConfig(**common, model="test_efficientnet", output=str(folder / "teacher")))
    return TrainConfig(**common, model="test_resnet", teacher=str(teacher), output=str(folder / "student"))


def teacher_of(config: TrainConfig, student: torch.nn.Module, **other: object) -> Teacher:
    checkpoint = load(config.teacher)
    checkpoint = replace(checkpoint, config=replace(checkpoint.config, **other))
    return Teacher(checkpoint, config, student, PNEUMONIA, make_preprocess(config, student), Accelerator())


def test_the_distance_of_answers_is_the_divergence_of_both_softened():
    generator = np.random.default_rng(0)
    own, taught = (generator.normal(size=(5, 3)).astype(np.float32) for _ in range(2))
    p, log_p, log_q = (
        softmax(taught / TEMPERATURE, 1), log_softmax(taught / TEMPERATURE, 1), log_softmax(own / TEMPERATURE, 1)
    )  # fmt: skip
    expected = (p * (log_p - log_q)).sum(1).mean() * TEMPERATURE**2
    own, taught = torch.tensor(own), torch.tensor(taught)
    assert answer_distance(own, taught, exclusive=True).item() == pytest.approx(expected, rel=1e-5)
    assert answer_distance(taught, taught, exclusive=True).item() == pytest.approx(0, abs=1e-6)
    each = [answer_distance(torch.stack([0 * a, a], 1), torch.stack([0 * b, b], 1), exclusive=True).item()
            for a, b in zip(own.T, taught.T, strict=True)]  # fmt: skip
    assert answer_distance(own, taught, exclusive=False).item() == pytest.approx(np.mean(each), rel=1e-5)


@pytest.mark.parametrize(("model", "size"), [("test_resnet", 48), ("test_vit", 64), ("test_efficientnet", 160)])
def test_a_lesson_is_learnt_in_every_layout_and_at_another_size(config, model, size):
    """Steps on one batch bring the student nearer to a teacher of other maps, another grid and another input."""
    config = replace(config, model=model, size=size, teacher_answer=1.0, teacher_map=1.0)
    torch.manual_seed(0)
    student = make_network(config, 2)
    teacher = teacher_of(config, student)
    films = torch.rand(6, size, size, generator=torch.Generator().manual_seed(0))
    x = to_tensor(make_preprocess(config, student), films)
    optimizer = torch.optim.Adam([*student.parameters(), *teacher.projection.parameters()], 3e-3)
    student.train()
    distances = []
    for _ in range(12):
        distances.append(teacher.lesson(films, student(x)))
        optimizer.zero_grad()
        distances[-1].backward()
        optimizer.step()
    assert all(value.grad is None for value in teacher.network.parameters())
    assert distances[-1] < 0.8 * distances[0]
    teacher.leave()
    assert not any(module._forward_hooks for module in student.modules())


def test_a_network_that_is_its_teacher_has_only_the_projection_to_learn(config):
    checkpoint = load(config.teacher)
    student = checkpoint.network
    teacher = teacher_of(replace(config, teacher_map=0.0), student)
    films = torch.rand(3, 48, 48)
    logits = student.eval()(to_tensor(make_preprocess(config, student), films))
    assert teacher.lesson(films, logits).item() == pytest.approx(0, abs=1e-5)


def test_a_run_with_a_teacher_says_so_and_goes_on_after_an_interruption(config, tmp_path, monkeypatch):
    folder = train(replace(config, ema_decay=0.9))
    record = load(folder).config.training
    expected = TeacherRecord(name="teacher", architecture="test_efficientnet", initial_weights="random")
    assert record.teacher == expected and "--teacher teacher" in record.command
    assert record.config["teacher"] == "teacher"
    row = summary_row(Entry("student", (folder / "results/official-val.json",)))
    assert row["initial_weights"] == "random, taught by test_efficientnet from random"

    step, calls = Trainer.step, []

    def interrupted(self, rows, side):
        calls.append(1)
        if len(calls) == 9:  # epoch 2, step 3
            raise KeyboardInterrupt
        return step(self, rows, side)

    monkeypatch.setattr(Trainer, "step", interrupted)
    again = replace(config, ema_decay=0.9, output=str(tmp_path / "again"))
    with pytest.raises(KeyboardInterrupt):
        train(again)
    monkeypatch.setattr(Trainer, "step", step)
    train(replace(again, resume=True))
    whole, parts = ([row["loss"] for row in read_log(Path(f)) if "loss" in row] for f in (folder, again.output))
    assert parts == whole


def test_who_must_not_teach_is_told_why(config):
    student = make_network(config, 2)
    own = load(config.teacher).config
    for other, told in (
        ({"labels": AETIOLOGY}, "knows NORMAL, BACTERIA, VIRUS, and this run learns NORMAL, PNEUMONIA"),
        ({"data": replace(own.data, protocol="paper")}, "learnt from the paper split"),
        ({"preprocess": replace(own.preprocess, crop=CROPS["lung"])}, "cropped otherwise"),
        ({"members": (object(),)}, "is an ensemble"),
    ):
        with pytest.raises(ValueError, match=told):
            teacher_of(config, student, **other)
    assert not any(module._forward_hooks for module in student.modules())
