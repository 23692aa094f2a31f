"""A training run from a config to a checkpoint folder: read, split, train, fit the operating point, record."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from accelerate import Accelerator
from datasets import Dataset
from torch import nn

from hf_pneumo.data.film_cache import Films, decode, refuse_contradictions
from hf_pneumo.data.labels import TASKS, LabelSet
from hf_pneumo.data.sources import load_xrays
from hf_pneumo.data.splits import split
from hf_pneumo.data.table_source import only_given, parse_classes
from hf_pneumo.evaluation.classification.calibration import evidence, fit_operating_point
from hf_pneumo.evaluation.classification.conformal import fit_sets
from hf_pneumo.evaluation.classification.evaluate import EvaluationFiles, evaluate_films
from hf_pneumo.evaluation.classification.ood import ENOUGH, fit_density
from hf_pneumo.explain import cell_offset
from hf_pneumo.explain.layer import default_layer
from hf_pneumo.files import read_json, write_json
from hf_pneumo.imaging.preprocess import CROPS, LUNGS, Preprocess
from hf_pneumo.models.checkpoint import Checkpoint, load, save
from hf_pneumo.models.classifier import build, freeze_all_but_last, timm_name, torchvision_network
from hf_pneumo.models.config import CONFIG, WEIGHTS, CheckpointConfig, OperatingPoint
from hf_pneumo.models.inference import predict_logits, warn_of_idle_cores
from hf_pneumo.models.ood_detector import FilmDensity
from hf_pneumo.models.tensors import to_tensor
from hf_pneumo.reporting.figures import draw_report, draw_training
from hf_pneumo.training.augment import augmented_views, policy_named
from hf_pneumo.training.config import TrainConfig, present_names
from hf_pneumo.training.loop import Trainer, read_log
from hf_pneumo.training.memory import keep_freed_memory
from hf_pneumo.training.record import data_record, initial_weights, training_record
from hf_pneumo.training.state import STATE

logger = logging.getLogger(__name__)

LOOKED_AT = 64  # films at most on which it is measured where cells look
RUN = "run.json"  # the config of an unfinished run, against which a resumed one is checked


def train(config: TrainConfig) -> Path:
    """Carry out ``config``; returns the checkpoint folder. A finished run is not repeated with ``config.resume``.

    Raises ValueError for settings that contradict each other or a taken folder, OSError for what cannot be read.
    """
    folder = Path(config.output)
    if _is_finished(folder, config):
        logger.info("%s is finished already", folder)
        return folder
    keep_freed_memory()
    tracker = _tracker(config)
    precision = None if config.mixed_precision == "no" else config.mixed_precision
    accelerator = Accelerator(mixed_precision=precision, log_with=tracker, project_dir=str(folder))
    warn_of_idle_cores(accelerator)
    if tracker:
        accelerator.init_trackers("hf_pneumo", config={k: str(v) for k, v in config.record().items()})
    dataset, labels = open_source(config)
    torch.manual_seed(config.seed)
    network = make_network(config, len(labels.names))
    origin = initial_weights(config, network)
    preprocess = make_preprocess(config, network)
    teacher = load(config.teacher) if config.teacher else None
    with accelerator.main_process_first():
        films = decode(
            dataset, preprocess, cache=config.cache, workers=config.workers, progress=accelerator.is_main_process
        )
    refuse_contradictions(films)
    parts = split(films.table, config.protocol, labels, films.digests)
    train_films, val_films = films.select(parts["train"]), films.select(parts["val"])
    if accelerator.is_main_process:
        write_json(folder / RUN, config.record())
    trainer = Trainer(config, network, labels, preprocess, train_films, val_films, accelerator, teacher)
    network = trainer.fit()

    point = _operating_point(config, network, labels, preprocess, val_films, accelerator)
    checkpoint_config = CheckpointConfig(
        architecture=timm_name(config.model),
        labels=labels,
        preprocess=preprocess,
        head=config.head,
        operating_point=point,
        cam_layer=default_layer(network).name,
        cam_offset=measure_offset(network, labels, preprocess, val_films),
        model_args=_model_args(config),  # or the checkpoint would be built for another size or norm
        data=data_record(config, films, parts),
        training=training_record(config, trainer, origin, accelerator, teacher),
    )
    if accelerator.is_main_process:
        save(folder, network, checkpoint_config)
        if preprocess.crop != LUNGS:  # of films without surroundings, turned and inverted ones look like the others
            _save_density(folder, train_films, val_films)
        draw_training(folder / "figures" / "training.png", read_log(folder))
        (folder / RUN).unlink()
    accelerator.wait_for_everyone()
    density = FilmDensity.load(folder)
    checkpoint = Checkpoint(checkpoint_config, folder.resolve().name, None, folder, density, network=network)
    name = f"{config.protocol}-val"
    predictions, report = evaluate_films(
        checkpoint,
        val_films,
        {"dataset": checkpoint_config.data.source, "protocol": config.protocol, "subset": "val"},
        EvaluationFiles.of(folder, name),
        accelerator=accelerator,
    )
    if accelerator.is_main_process:
        draw_report(folder / "figures" / name, predictions, report)
    accelerator.end_training()
    return folder


def open_source(config: TrainConfig) -> tuple[Dataset, LabelSet]:
    """The films that ``config`` names, and the labels of its task that they give."""
    labels = TASKS[config.task]
    dataset = load_xrays(
        config.dataset,
        labels=labels,
        revision=config.revision,
        label_column=config.label_column,
        classes=parse_classes(config.classes),
        blanks=config.blanks,
    )
    return only_given(dataset, labels)


def _tracker(config: TrainConfig) -> str | None:
    """The tracker that accelerate is to report to; ValueError where its package is missing."""
    if config.report_to == "none":
        return None
    if find_spec(config.report_to) is None:
        raise ValueError(f"`report_to` is {config.report_to!r}, which is not installed; pip install {config.report_to}")
    return config.report_to


def _operating_point(
    config: TrainConfig,
    network: nn.Module,
    labels: LabelSet,
    preprocess: Preprocess,
    val: Films,
    accelerator: Accelerator,
) -> OperatingPoint:
    """Temperature, thresholds, abstain band and prediction sets from the validation films.

    With ``calibration_views``, all but the sets from that many augmented views of each: a val of the training films'
    own batch is too clean to tell how sure the network may be on another hospital's. The sets promise nothing of such
    films.
    """
    gray, targets, fitted_on = np.asarray(val.gray), np.array(val.table["label"]), f"{config.protocol}/val"
    plain = predict_logits(network, gray, preprocess, accelerator=accelerator)
    logits, repeated, viewed = plain, targets, ""
    if config.calibration_views:
        policy, cut = policy_named(config.augment), preprocess.crop == LUNGS
        views = augmented_views(gray, policy, config.calibration_views, config.seed, cut=cut)
        logits = np.concatenate([predict_logits(network, v, preprocess, accelerator=accelerator) for v in views])
        repeated, viewed = np.concatenate([targets] * len(views)), f", {config.calibration_views} augmented views"
    point = fit_operating_point(logits, repeated, labels, by=config.threshold_by, fitted_on=fitted_on + viewed)
    sets = fit_sets(plain, targets, labels, point.temperature, fitted_on=fitted_on)
    return replace(point, sets=sets, evidence=evidence(targets, labels))  # a film's views are one film


def measure_offset(
    network: nn.Module, labels: LabelSet, preprocess: Preprocess, val: Films, *, layer: str | None = None
) -> tuple[float, float]:
    """Where the cells of the last map, or of another layer, look on validation films with a finding; tenths of a pixel.

    On any films, and for the class that is predicted, where none has one.
    """
    given = np.array(val.table["label"])  # (N,) or (N, K)
    held = given[:, None] == np.arange(len(labels.names)) if labels.exclusive else given == 1  # (N, K)
    held[:, [name == labels.normal for name in labels.names]] = False
    ill = np.flatnonzero(held.any(1))[:LOOKED_AT]
    rows = ill if len(ill) else np.arange(len(given))[:LOOKED_AT]
    films = to_tensor(preprocess, np.asarray(val.gray)[rows]).to(next(network.parameters()).device)
    down, right = cell_offset(network, films, held[ill].argmax(1).tolist() if len(ill) else None, layer=layer)
    return round(down, 1), round(right, 1)


def _save_density(folder: Path, train_films: Films, val_films: Films) -> None:
    """Teach the checkpoint to tell its films from other pictures, where there are enough of them."""
    if len(train_films.gray) < ENOUGH:
        logger.info("%d training films are too few to tell other pictures from films", len(train_films.gray))
        return
    fit_density(train_films.gray, val_films.gray).save(folder)


def make_network(config: TrainConfig, classes: int) -> nn.Module:
    """The classifier that ``config`` asks for, with its first layers frozen where it says so.

    Raises ValueError for small first epochs of a network that takes films of one size alone.
    """
    several = bool(config.low_res_epochs) and _is_of_one_size(config)
    try:
        network = build(
            config.model,
            classes,
            head=config.head,
            pretrained=config.pretrained,
            init_weights=config.init_weights,
            weights_of=config.weights_of,
            drop_rate=config.dropout,
            **_model_args(config),
            **_training_args(config),
            **({"dynamic_img_size": True} if several else {}),  # what timm's ViTs call it
        )
        if several:
            with torch.inference_mode():
                network.eval()(torch.zeros(1, 3, config.low_res_size, config.low_res_size))
    except (TypeError, AssertionError) as error:
        if not several:
            raise
        raise ValueError(f"`low_res_epochs`: {config.model} takes films of one size alone; give 0 for it") from error
    if config.train_last is not None:
        freeze_all_but_last(network, config.train_last)
    return network


def _is_of_one_size(config: TrainConfig) -> bool:
    """Whether the network has position embeddings, unlike convolutions, which take films of any size."""
    own = timm.get_pretrained_cfg(timm_name(config.model))
    return own is not None and own.fixed_input_size


def _size_argument(config: TrainConfig) -> dict[str, int]:
    """A network of one size must be told a size that is not its own."""
    own = timm.get_pretrained_cfg(timm_name(config.model))
    return {"img_size": config.size} if _is_of_one_size(config) and own.input_size[-1] != config.size else {}


def _model_args(config: TrainConfig) -> dict[str, Any]:
    """What timm must be told, beside the architecture, to build the network that is trained here."""
    own = torchvision_network(config.model).model_args if config.weights_of == "torchvision" else {}
    return {**own, **_size_argument(config)}


def _training_args(config: TrainConfig) -> Mapping[str, Any]:
    """How torchvision's network differs from timm's while it is trained, and then no more."""
    return torchvision_network(config.model).training_args if config.weights_of == "torchvision" else {}


def make_preprocess(config: TrainConfig, network: nn.Module) -> Preprocess:
    """The network's own normalisation, or none beside each film's, with the size and crop of ``config``."""
    own = network.pretrained_cfg
    made = Preprocess(
        size=(config.size, config.size),
        crop=CROPS[config.crop],
        interpolation=config.interpolation,
        mirror=config.mirror,
    )
    if made.crop == LUNGS:  # these are standardised film by film
        return replace(made, mean=(0.0,) * 3, std=(1.0,) * 3)
    return replace(made, mean=tuple(own["mean"]), std=tuple(own["std"]))


def _is_finished(folder: Path, config: TrainConfig) -> bool:
    """Whether ``folder`` holds this run's result; ValueError where it holds something that must not be overwritten."""
    if (folder / WEIGHTS).exists() and (folder / CONFIG).exists() and not (folder / RUN).exists():
        if config.resume:
            return True
        raise ValueError(f"`output` {str(folder)!r} holds a finished checkpoint; give another folder or --resume")
    if (folder / STATE).exists():
        if not config.resume:
            raise ValueError(
                f"`output` {str(folder)!r} holds an unfinished run; continue it with --resume or remove it"
            )
        # A choice that did not exist when the run began was its default.
        before = TrainConfig().record() | present_names(read_json(folder / RUN))
        now = json.loads(json.dumps(config.record()))
        if changed := sorted(k for k in now if now[k] != before.get(k)):
            told = ", ".join(f"{k} was {before.get(k)!r}, is {now[k]!r}" for k in changed)
            raise ValueError(f"`resume` needs the settings of the run that is in {str(folder)!r}: {told}")
    return False
