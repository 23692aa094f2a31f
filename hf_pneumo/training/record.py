"""What a checkpoint records of its films and its training, so that its card can say it."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from hf_pneumo.data.film_cache import Films
from hf_pneumo.data.sources import source_name
from hf_pneumo.data.splits import Parts
from hf_pneumo.models.checkpoint import Checkpoint
from hf_pneumo.models.classifier import parameter_count, torchvision_network
from hf_pneumo.models.hub_download import is_repository
from hf_pneumo.models.training_record import DataRecord, TeacherRecord, TrainingRecord
from hf_pneumo.training.config import TrainConfig, weights_name
from hf_pneumo.training.loop import Trainer

PACKAGES = ("torch", "torchvision", "timm", "transformers", "datasets", "accelerate", "hf-pneumo")


def data_record(config: TrainConfig, films: Films, parts: Parts) -> DataRecord:
    """Source, protocol and sizes of what is learnt from, and which pixels exactly."""
    return DataRecord(
        source=config.dataset_name or source_name(config.dataset),
        revision=config.revision,
        protocol=config.protocol,
        films={name: len(rows) for name, rows in parts.items()},
        list_sha256=films.fingerprint,
        label_column=config.label_column,
        classes=config.classes,
        blanks=config.blanks,
    )


def training_record(
    config: TrainConfig,
    trainer: Trainer,
    before: TrainingRecord,
    accelerator: Accelerator,
    teacher: Checkpoint | None,
) -> TrainingRecord:
    """How the run went; ``before`` is what `initial_weights` said when it began."""
    return replace(
        before,
        config=config.record(),
        command=config.command(),
        teacher=_teacher_record(teacher) if teacher else None,
        note=config.note or None,
        parameters=parameter_count(trainer.bare),
        best_epoch=trainer.progress.best_epoch + 1,
        epochs_run=trainer.progress.epoch,
        seconds=round(trainer.progress.seconds),
        hardware=hardware(accelerator),
        versions={name: _version(name) for name in PACKAGES} | {"python": platform.python_version()},
    )


def initial_weights(config: TrainConfig, network: nn.Module) -> TrainingRecord:
    """The record of a run that begins: the weights that it begins with; `base_model` is a repository of the Hub."""
    if config.init_weights:
        with Path(config.init_weights).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return TrainingRecord(
            initial_weights=weights_name(config.init_weights),
            initial_weights_sha256=digest,
            initial_weights_source=config.init_source or None,
            base_model=config.init_source if is_repository(config.init_source or "") else None,
        )
    if not config.pretrained:
        return TrainingRecord(initial_weights="random")
    theirs = torchvision_network(config.model) if config.weights_of == "torchvision" else None
    if theirs is not None and theirs.hub_tag is None:
        return TrainingRecord(initial_weights=theirs.weights_name)
    return TrainingRecord(initial_weights="ImageNet", base_model=network.pretrained_cfg.get("hf_hub_id") or None)


def _teacher_record(teacher: Checkpoint) -> TeacherRecord:
    """What the record says of a teacher, whose initial weights its student knows at second hand."""
    config = teacher.config
    return TeacherRecord(teacher.name, config.architecture, config.training.initial_weights or "unknown")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "source tree"


def hardware(accelerator: Accelerator) -> str:
    """What the run was on: the accelerator's name, or the number of CPU threads, and the number of processes."""
    if accelerator.device.type == "cuda":
        name = torch.cuda.get_device_name(accelerator.device)
    else:
        name = f"{accelerator.device.type}, {torch.get_num_threads()} threads, {platform.machine()}"
    return name + (f", {accelerator.num_processes} processes" if accelerator.num_processes > 1 else "")
