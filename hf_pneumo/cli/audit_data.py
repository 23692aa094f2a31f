"""Audit a data set under a split protocol: straddling patients, pixel-identical films, counts; a table and JSON.

hf-pneumo audit --dataset hf-vision/chest-xray-pneumonia --protocol paper --output audit.json
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from hf_pneumo.cli.split_options import protocol_option
from hf_pneumo.data.audit import as_markdown, audit_splits
from hf_pneumo.data.film_cache import decode
from hf_pneumo.data.labels import TASKS
from hf_pneumo.data.sources import load_xrays
from hf_pneumo.data.splits import split
from hf_pneumo.data.table_source import parse_classes
from hf_pneumo.files import write_json
from hf_pneumo.imaging.preprocess import Preprocess


@dataclass(frozen=True)
class Arguments:
    dataset: str = field(metadata={"help": "Hub id user/dataset, folder, CSV table, or phantom[:n]"})
    protocol: str = protocol_option()
    task: str = field(default="pneumonia", metadata={"help": "label set: " + ", ".join(TASKS)})
    revision: str | None = field(default=None, metadata={"help": "revision of a Hub data set"})
    label_column: str | None = field(
        default=None, metadata={"help": "column of a table that holds the class of a film"}
    )
    classes: str | None = field(
        default=None,
        metadata={"help": "its values, or names of class folders, as labels: 'Normal=NORMAL, Lung Opacity=PNEUMONIA'"},
    )
    output: str | None = field(default=None, metadata={"help": "also write the JSON to this file"})
    cache: str | None = field(default=None, metadata={"help": "folder for decoded films"})

    def __post_init__(self):
        if self.task not in TASKS:
            raise ValueError(f"`task` is {self.task!r}; choose one of {', '.join(TASKS)}")


def run(arguments: Arguments) -> None:
    labels = TASKS[arguments.task]
    dataset = load_xrays(
        arguments.dataset,
        labels=labels,
        revision=arguments.revision,
        label_column=arguments.label_column,
        classes=parse_classes(arguments.classes),
    )
    films = decode(dataset, Preprocess(), cache=arguments.cache)
    report = audit_splits(
        films.table, split(films.table, arguments.protocol, labels, films.digests), labels, films.digests
    )
    report["unreadable"] = [list(failure) for failure in films.failures]
    print(as_markdown(report))
    print(json.dumps(report))
    if arguments.output:
        write_json(Path(arguments.output), report)
