"""Make one model of several checkpoints: the weighted mean of their calibrated logits.

    hf-pneumo ensemble --checkpoints runs/paper/resnet18-s42 runs/paper/resnet50-s42 --weights stacked \\
        --dataset SRC --protocol paper --output runs/paper-ensemble

Temperatures, weights, threshold and abstain band come from the val films of the split, the test films only measure. The
output is a checkpoint folder like any other: results, predictions and figures, to be evaluated, pushed and loaded.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from hf_pneumo.cli.split_options import protocol_option, split_option
from hf_pneumo.data.film_cache import Films
from hf_pneumo.data.sources import source_name
from hf_pneumo.evaluation.classification.evaluate import EvaluationFiles, evaluate_films, open_subset
from hf_pneumo.evaluation.classification.fit_ensemble import check_members, make_ensemble
from hf_pneumo.models.checkpoint import Checkpoint, load, save
from hf_pneumo.models.config import CONFIG
from hf_pneumo.models.training_record import TrainingRecord
from hf_pneumo.reporting.figures import draw_report
from hf_pneumo.training.augment import augmented_views, policy_named
from hf_pneumo.training.config import present_names


@dataclass(frozen=True)
class Arguments:
    checkpoints: list[str] = field(metadata={"help": "two or more checkpoint folders or user/repo[@revision]"})
    dataset: str = field(metadata={"help": "Hub id user/dataset, folder, CSV table, or phantom[:n]"})
    output: str = field(metadata={"help": "folder for the ensemble's checkpoint"})
    weights: str = field(
        default="uniform",
        metadata={"help": "uniform, auroc (val AUROC above .5) or stacked (non-negative logistic regression on val)"},
    )
    protocol: str = protocol_option("split protocol, the one that the members were trained in")
    split: str = split_option("measured beside val: test or train")
    threshold_by: str | None = field(
        default=None, metadata={"help": "balanced_accuracy or accuracy (default: as the first member)"}
    )
    calibration_views: int | None = field(
        default=None, metadata={"help": "augmented views of each val film to fit on (default: as the first member)"}
    )
    dataset_name: str | None = field(default=None, metadata={"help": "what the results call the data set"})
    revision: str | None = field(default=None, metadata={"help": "revision of a Hub data set"})
    cache: str | None = field(default=None, metadata={"help": "folder for decoded films"})

    def __post_init__(self):
        if self.threshold_by not in (None, "balanced_accuracy", "accuracy"):
            raise ValueError(f"`threshold_by` is {self.threshold_by!r}; choose balanced_accuracy or accuracy")


def run(arguments: Arguments) -> None:
    folder = Path(arguments.output)
    if (folder / CONFIG).exists():
        raise ValueError(f"`output` {str(folder)!r} holds a checkpoint; give another folder")
    accelerator = Accelerator()
    members = [load(where) for where in arguments.checkpoints]
    check_members(members, arguments.protocol)
    for member in members:
        member.network.to(accelerator.device)
    val = films_of("val", arguments, members[0])
    gray, fitted_on, by = views(arguments, members[0], val)
    network, config = make_ensemble(
        members,
        gray,
        np.concatenate([np.array(val.table["label"])] * (len(gray) // len(val))),
        weighting=arguments.weights,
        by=by,
        protocol=arguments.protocol,
        fitted_on=fitted_on,
        views=len(gray) // len(val),
        training=TrainingRecord(command=shlex.join(["hf-pneumo", "ensemble", *map(source_name, sys.argv[1:])])),
    )
    save(folder, network, config)
    checkpoint = Checkpoint(config, folder.resolve().name, None, folder, network=network)
    for subset, films in (("val", val), (arguments.split, films_of(arguments.split, arguments, members[0]))):
        name = f"{arguments.protocol}-{subset}"
        provenance = {
            "dataset": arguments.dataset_name or source_name(arguments.dataset),
            "dataset_revision": arguments.revision,
            "protocol": arguments.protocol,
            "subset": subset,
        }
        files = EvaluationFiles.of(folder, name)
        predictions, report = evaluate_films(checkpoint, films, provenance, files, accelerator=accelerator)
        draw_report(files.figures, predictions, report)
        figures = ", ".join(f"{metric} {found.value:.4f}" for metric, found in report.metrics.items() if found)
        print(f"{name}: {report.n} films, {figures}")
    for part in config.members:
        print(f"  {part.weight:.3f} x {part.name} ({part.architecture}), temperature {part.temperature:.3f}")


def films_of(subset: str, arguments: Arguments, first: Checkpoint) -> Films:
    return open_subset(
        arguments.dataset, arguments.protocol, subset, first, revision=arguments.revision, cache=arguments.cache
    )


def views(arguments: Arguments, first: Checkpoint, val: Films) -> tuple[np.ndarray, str, str]:
    """The val films to fit on (uint8, view after view), their name, and what the threshold maximises."""
    trained = present_names(first.config.training.config or {})
    count = trained.get("calibration_views", 0) if arguments.calibration_views is None else arguments.calibration_views
    by = arguments.threshold_by or trained.get("threshold_by", "balanced_accuracy")
    gray, name = np.asarray(val.gray), f"{arguments.protocol}/val"
    if not count:
        return gray, name, by
    policy, seed = policy_named(trained.get("augment", "none")), trained.get("seed", 0)
    return np.concatenate(augmented_views(gray, policy, count, seed)), f"{name}, {count} augmented views", by
