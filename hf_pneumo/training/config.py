"""What a training run is: one frozen dataclass, from which the command line and a checkpoint's record are made."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hf_pneumo.data.labels import TASKS
from hf_pneumo.data.sources import source_name
from hf_pneumo.data.splits import PROTOCOLS
from hf_pneumo.data.table_source import parse_classes
from hf_pneumo.data.uncertain_labels import BLANKS
from hf_pneumo.data.uncertain_labels import POLICIES as UNCERTAIN
from hf_pneumo.imaging.preprocess import CROPS, INTERPOLATIONS, LUNGS
from hf_pneumo.models.classifier import HEADS, PAPER_BACKBONES, WEIGHTS_OF, timm_name, torchvision_network
from hf_pneumo.models.config import WEIGHTS
from hf_pneumo.training.augment import POLICIES
from hf_pneumo.training.augment_steps import Steps

CHOICES: dict[str, tuple[str, ...]] = {
    "protocol": tuple(PROTOCOLS),
    "task": tuple(TASKS),
    "head": HEADS,
    "weights_of": WEIGHTS_OF,
    "crop": tuple(CROPS),
    "interpolation": tuple(INTERPOLATIONS),
    "uncertain": UNCERTAIN,
    "loss": ("cross-entropy", "weighted", "focal", "asymmetric"),
    "focal_alpha": ("none", "inverse"),
    "balance": ("none", "sampler", "view-sampler", "class-weights", "class-balanced"),
    "augment": tuple(POLICIES),
    "optimizer": ("adam", "adamw"),
    "schedule": ("constant", "cosine", "onecycle", "plateau"),
    "mixed_precision": ("no", "bf16", "fp16"),
    "report_to": ("none", "tensorboard", "trackio"),
    "choose_by": ("auroc", "loss", "accuracy"),
    "threshold_by": ("balanced_accuracy", "accuracy", "half"),
}

# Fields that say where things are, or how the run is watched, and change no result.
LOCAL = ("output", "init_weights", "init_source", "workers", "cache", "report_to", "resume", "save_every", "note")


def _help(text: str, default: Any = None) -> Any:
    return field(default=default, metadata={"help": text})


# Names of fields in the version before, as stored records, study files and command lines may still have them.
RENAMED = {
    "split": "protocol",
    "small_epochs": "low_res_epochs",
    "small_size": "low_res_size",
    "gamma_neg": "asl_gamma_neg",
    "gamma_pos": "asl_gamma_pos",
    "clip": "asl_clip",
    "beta": "cb_beta",
    "ema": "ema_decay",
    "fit_views": "calibration_views",
}


def _renamed(before: str, text: str, default: Any) -> Any:
    return field(default=default, metadata={"help": text, "renamed": {before: None}})


def present_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a stored config under their names of now."""
    return {RENAMED.get(name, name): value for name, value in values.items()}


@dataclass(frozen=True)
class TrainConfig:
    """Every choice of a run. The defaults fine-tune a small network well; scripts/configs holds the papers'."""

    dataset: str = _help("Hub id user/dataset, folder, CSV table, or phantom[:n]", "phantom")
    output: str = _help("folder for the checkpoint", "runs/checkpoint")
    protocol: str = _renamed("split", "split protocol: official, paper or strict", "official")
    dataset_name: str | None = _help("what the card calls the data set (default: its Hub id or folder name)")
    note: str | None = _help("words for the card: why this run is as it is, and what its figures do not say")
    task: str = _help("label set: " + ", ".join(TASKS), "pneumonia")
    revision: str | None = _help("revision of a Hub data set")
    label_column: str | None = _help("column of a table that holds the class of a film (exclusive labels)")
    classes: str | None = _help("values, or class folders, as labels: 'Normal=NORMAL, Lung Opacity=PNEUMONIA'")
    uncertain: str = _help("training target of uncertain labels: " + ", ".join(UNCERTAIN), "u-ones")
    blanks: str | None = _help(
        "blank labels of a table: zero (absent) or ignore (default: ignore for lists of findings, else zero)"
    )
    model: str = _help("backbone: " + ", ".join(PAPER_BACKBONES) + " or any timm name", "resnet18")
    head: str = _help("linear, paper (512-128 with batch norm) or mlp (512-128 without)", "linear")
    pretrained: bool = _help("take ImageNet weights from the Hub", False)
    weights_of: str = _help("whose network and ImageNet weights: timm's default ones, or torchvision's DEFAULT", "timm")
    init_weights: str | None = _help("take the backbone's weights from this safetensors file")
    init_source: str | None = _help("where that file is from: a Hub id (the card's base_model), or words")
    teacher: str | None = _help("checkpoint that teaches by distillation: folder or user/repo[@revision]")
    teacher_answer: float = _help("weight of the distance from the teacher's answer, beside the loss", 1.0)
    teacher_map: float = _help("weight of the distance from the teacher's last map", 1.0)
    train_last: int | None = _help("freeze all but the head and this many of the last layers (default: train all)")
    dropout: float = _help("dropout before the classifier", 0.0)
    size: int = _help("side of the model's input in pixels", 224)
    crop: str = _help(
        "none, lung (the fixed crop of the Fordham report), adaptive (each film's own lungs), or lungs (nothing else)",
        "none",
    )
    mirror: bool = _help("answer with the mean over the film and its mirror image", False)
    interpolation: str = _help("bilinear or bicubic", "bilinear")
    low_res_epochs: int = _renamed(
        "small_epochs", "first epochs on films of low_res_size (cheaper, and blind to sharpness)", 0
    )
    low_res_size: int = _renamed("small_size", "side of the films in the first low_res_epochs", 160)
    epochs: int = _help("epochs at most", 10)
    batch_size: int = _help("films a step on each process", 32)
    learning_rate: float = _help("highest learning rate", 3e-4)
    weight_decay: float = _help("weight decay", 0.02)
    optimizer: str = _help("adam or adamw", "adamw")
    schedule: str = _help("constant, cosine, onecycle or plateau", "onecycle")
    loss: str = _help("cross-entropy, weighted (by inverse frequency), focal or asymmetric", "cross-entropy")
    focal_gamma: float = _help("focusing parameter of the focal loss", 2.0)
    focal_alpha: str = _help("class weights of the focal loss: none or inverse (frequency)", "none")
    asl_gamma_neg: float = _renamed("gamma_neg", "focusing parameter of the asymmetric loss for absent labels", 4.0)
    asl_gamma_pos: float = _renamed("gamma_pos", "focusing parameter of the asymmetric loss for present labels", 1.0)
    asl_clip: float = _renamed("clip", "probability below which the asymmetric loss forgets absent labels", 0.05)
    label_smoothing: float = _help("label smoothing, exclusive labels only", 0.0)
    balance: str = _help(
        "none, sampler (classes drawn equally), view-sampler (each view and class), class-weights or class-balanced",
        "none",
    )
    cb_beta: float = _renamed(
        "beta", "class-balanced weights: how much a further film of a class counts (effective number)", 0.999
    )
    augment: str = _help("augmentation policy: " + ", ".join(POLICIES), "light")
    max_grad_norm: float = _help("largest norm of the gradient, a longer one is scaled down; 0: as it is", 5.0)
    ema_decay: float = _renamed(
        "ema", "decay of the moving average of the weights that is kept; 0 keeps the last weights", 0.0
    )
    choose_by: str = _help("the epoch that is kept is the best on val by: auroc, loss or accuracy", "auroc")
    patience: int = _help("stop after this many epochs without a better one by choose_by; 0 never stops early", 0)
    threshold_by: str = _help(
        "what the threshold maximises on val: balanced_accuracy or accuracy; half: it is 0.5", "balanced_accuracy"
    )
    calibration_views: int = _renamed(
        "fit_views", "fit the operating point on this many augmented views of each val film; 0: on val as it is", 0
    )
    seed: int = _help("seed of every random draw", 0)
    mixed_precision: str = _help("no, bf16 or fp16 (autocast)", "no")
    workers: int | None = _help("threads that read films (default: all cores, at most 16)")
    cache: str | None = _help("folder for decoded films (default: beside the caches of datasets)")
    save_every: int = _help("steps between two saved states, beside the one after each epoch", 200)
    report_to: str = _help("tracker: none, tensorboard or trackio", "none")
    resume: bool = _help("continue the run that is in output", False)

    def __post_init__(self):
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"`{name}` is {getattr(self, name)!r}; choose one of {', '.join(choices)}")
        for name in ("size", "low_res_size", "epochs", "batch_size", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}; give a whole number from 1")
        for name in ("dropout", "label_smoothing", "ema_decay", "asl_clip", "cb_beta"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}; give a number from 0 to below 1")
        for name in ("focal_gamma", "asl_gamma_neg", "asl_gamma_pos", "teacher_answer", "teacher_map", "max_grad_norm"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` is {getattr(self, name)}; give a number from 0")
        if self.blanks not in (None, *BLANKS):
            raise ValueError(f"`blanks` is {self.blanks!r}; choose one of {', '.join(BLANKS)}, or leave it out")
        if self.loss == "asymmetric" and TASKS[self.task].exclusive:
            raise ValueError(
                f"`loss` asymmetric is for labels that do not exclude each other, as {self.task}'s do; take focal"
            )
        if self.low_res_epochs and self.crop == LUNGS:
            raise ValueError("`low_res_epochs` cannot resize films that are cut to their lungs; give 0 for it")
        if getattr(POLICIES[self.augment], "borrow", 0) and self.crop != LUNGS:
            raise ValueError(f"`augment` {self.augment} is for films that are cut to their lungs; add --crop {LUNGS}")
        if isinstance(POLICIES[self.augment], Steps) and self.crop == LUNGS:
            raise ValueError(f"`augment` {self.augment} is for whole films; take lungs for those cut to their lungs")
        if self.choose_by == "accuracy" and not TASKS[self.task].exclusive:
            raise ValueError(f"`choose_by` accuracy is for labels that exclude each other, unlike {self.task}'s")
        parse_classes(self.classes)
        if self.learning_rate <= 0:
            raise ValueError(f"`learning_rate` is {self.learning_rate}; give a number above 0")
        timm_name(self.model)
        if self.weights_of == "torchvision":
            torchvision_network(self.model)

    def record(self) -> dict[str, Any]:
        """The fields that make the result what it is: all but where things are and how the run is watched."""
        return by_name({k: v for k, v in asdict(self).items() if k not in LOCAL})

    def command(self) -> str:
        """The command that repeats this run: every field that differs from its default, folders by name only."""
        words = ["hf-pneumo train"]
        for f in fields(self):
            value = getattr(self, f.name)
            if value != f.default and f.name not in ("workers", "cache", "resume", "report_to"):
                value = NAMED[f.name](value) if f.name in NAMED else value
                words.append(f"--{f.name.replace('_', '-')}" + ("" if value is True else f" {shlex.quote(str(value))}"))
        return " ".join(words)


def weights_name(file: str | Path) -> str:
    """What records call a file of initial weights: its name, after its folder's where it is a checkpoint's."""
    path = Path(file)
    return f"{path.absolute().parent.name}/{path.name}" if path.name == WEIGHTS else path.name


def by_name(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a config for a record: what it learns from by name, never by path."""
    return {**values, **{name: NAMED[name](values[name]) for name in ("dataset", "teacher") if values.get(name)}}


# The fields that say where something lies, and what records call it.
NAMED = {"dataset": source_name, "output": source_name, "teacher": source_name, "init_weights": weights_name}
