"""Measure a checkpoint on one subset of a data set: results.json, predictions.parquet and figures.

    hf-pneumo evaluate --checkpoint space/checkpoints/pneumonia-children --dataset SRC --protocol official \\
        --split test --output runs/official-test

Without --output the files go into the checkpoint folder itself, as results/<protocol>-<split>.json and so on, unless it
is the Hub's cache. The record of other films is never replaced.

On films from elsewhere, all of them, with the checkpoint's own operating point (results/external-<name>.json):

    hf-pneumo evaluate --checkpoint C --external FOLDER_OR_CSV --label_column rsna_class \\
        --classes "Normal=NORMAL, Lung Opacity=PNEUMONIA"
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from hf_pneumo.cli.split_options import protocol_option, split_option
from hf_pneumo.data.film_cache import Films
from hf_pneumo.data.sources import source_name
from hf_pneumo.data.table_source import parse_classes
from hf_pneumo.evaluation.classification.baselines import measure_baselines
from hf_pneumo.evaluation.classification.evaluate import EvaluationFiles, evaluate_films, open_all, open_subset
from hf_pneumo.evaluation.classification.region_ablation import (
    measure_regions,
    predict_regions,
    with_whole_films,
    write_regions,
)
from hf_pneumo.evaluation.classification.report import EXTERNAL
from hf_pneumo.evaluation.destination import check_films, check_names, own_folder
from hf_pneumo.imaging.preprocess import LUNGS
from hf_pneumo.models.checkpoint import Checkpoint, load
from hf_pneumo.models.inference import warn_of_idle_cores
from hf_pneumo.reporting.figures import draw_report
from hf_pneumo.reporting.formatting import with_interval


@dataclass(frozen=True)
class Arguments:
    checkpoint: str = field(metadata={"help": "checkpoint folder, or user/repo[@revision] on the Hub"})
    dataset: str | None = field(
        default=None, metadata={"help": "Hub id user/dataset, folder, CSV table, or phantom[:n]"}
    )
    external: str | None = field(
        default=None,
        metadata={"help": "instead: films from elsewhere, all of which are measured, in any of these forms"},
    )
    protocol: str = protocol_option()
    split: str = split_option()
    output: str | None = field(default=None, metadata={"help": "folder for the files (default: the checkpoint's own)"})
    dataset_name: str | None = field(default=None, metadata={"help": "what the results call the data set"})
    revision: str | None = field(default=None, metadata={"help": "revision of a Hub data set"})
    cache: str | None = field(default=None, metadata={"help": "folder for decoded films"})
    controls: bool = field(default=False, metadata={"help": "also measure trivial models on the same films"})
    controls_backbone: str | None = field(
        default=None, metadata={"help": "one of them on frozen ImageNet features of this backbone (default: none)"}
    )
    controls_weights: str | None = field(
        default=None, metadata={"help": "safetensors file of that backbone's weights (default: from the Hub)"}
    )
    shortcuts: bool = field(
        default=False, metadata={"help": "also show the model the border, the outside of the lungs, the lungs alone"}
    )

    label_column: str | None = field(default=None, metadata={"help": "of a table: the column that holds the class"})
    classes: str | None = field(default=None, metadata={"help": "of a table: value=LABEL, ... (others are left out)"})
    blanks: str | None = field(default=None, metadata={"help": "of a table: what an empty cell means, zero or ignore"})

    def __post_init__(self):
        if (self.dataset is None) == (self.external is None):
            raise ValueError("`dataset` or `external`: give one of the two")
        if self.external and (self.controls or self.shortcuts):
            raise ValueError("`controls` and `shortcuts` need a split of the training source; leave them out")

    @property
    def source(self) -> str:
        return str(self.dataset or self.external)

    @property
    def reading(self) -> dict[str, Any]:
        """How a table is read; empty where nothing is said, which is as the checkpoint's own."""
        options = {"label_column": self.label_column, "classes": parse_classes(self.classes), "blanks": self.blanks}
        return options if any(options.values()) else {}

    @property
    def stem(self) -> str:
        """What the files are called."""
        if self.external is None:
            return f"{self.protocol}-{self.split}"
        return f"{EXTERNAL}-" + re.sub(r"[^\w.]+", "-", self.dataset_name or Path(source_name(self.external)).stem)


def run(arguments: Arguments) -> None:
    accelerator = Accelerator()
    warn_of_idle_cores(accelerator)
    checkpoint = load(arguments.checkpoint)
    if arguments.controls and len(checkpoint.config.labels.score_names) > 1:
        raise ValueError(f"`controls` are for one finding, and {checkpoint.name} has several; leave it out")
    name, folder = arguments.stem, Path(arguments.output) if arguments.output else own_folder(checkpoint)
    files = EvaluationFiles.alone_in(folder) if arguments.output else EvaluationFiles.of(folder, name)
    provenance = {
        "dataset": arguments.dataset_name or source_name(arguments.source),
        "dataset_revision": arguments.revision,
        "protocol": EXTERNAL if arguments.external else arguments.protocol,
        "subset": EXTERNAL if arguments.external else arguments.split,
    }
    check_names(files.results, provenance)
    with accelerator.main_process_first():
        opening = {
            "revision": arguments.revision,
            "cache": arguments.cache,
            "progress": accelerator.is_main_process,
            **arguments.reading,
        }
        if arguments.external:
            films = open_all(arguments.external, checkpoint, **opening)
        else:
            films = open_subset(arguments.source, arguments.protocol, arguments.split, checkpoint, **opening)
    check_films(files.predictions, films.digests)
    predictions, report = evaluate_films(checkpoint, films, provenance, files, accelerator=accelerator)
    if arguments.shortcuts:
        measure_shortcuts(arguments, checkpoint, folder, accelerator)
    if accelerator.is_main_process:
        draw_report(files.figures, predictions, report)
        if arguments.controls:
            path = folder / "baselines.json" if arguments.output else files.results.with_name(f"{name}-baselines.json")
            write_baselines(arguments, checkpoint, films, path)
        print(f"{name}: {report.n} films of {report.patients} patients")
        for metric, estimate in report.metrics.items():
            print(f"  {metric:18} {with_interval(estimate)}")
    accelerator.end_training()


def write_baselines(arguments: Arguments, checkpoint: Checkpoint, films: Films, path: Path) -> None:
    """Fit the trivial models on the train subset of the same split and write their figures on ``films``."""
    train = open_subset(
        arguments.source,
        arguments.protocol,
        "train",
        checkpoint,
        revision=arguments.revision,
        cache=arguments.cache,
        **arguments.reading,
    )
    measure_baselines(
        train,
        films,
        checkpoint.config.labels,
        backbone=arguments.controls_backbone,
        weights=arguments.controls_weights,
        cut=checkpoint.config.preprocess.crop == LUNGS,
        dataset=arguments.dataset_name or source_name(arguments.source),
        protocol=arguments.protocol,
        subset=arguments.split,
    ).write(path)


def measure_shortcuts(arguments: Arguments, checkpoint: Checkpoint, folder: Path, accelerator: Accelerator) -> None:
    """Predict the same films with parts of them hidden; write predictions and results beside the others."""
    with accelerator.main_process_first():
        whole = open_subset(
            arguments.source,
            arguments.protocol,
            arguments.split,
            with_whole_films(checkpoint),
            revision=arguments.revision,
            cache=arguments.cache,
            progress=accelerator.is_main_process,
            **arguments.reading,
        )
    predictions = predict_regions(checkpoint, whole, accelerator=accelerator)
    if accelerator.is_main_process:
        report = measure_regions(predictions, arguments.split)
        write_regions(folder, f"{arguments.protocol}-{arguments.split}", predictions, report)
