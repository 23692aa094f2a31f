"""Measure checkpoints again from the predictions that they hold, without running their networks.

    hf-pneumo reevaluate --checkpoints space/checkpoints/pneumonia-children space/checkpoints/pneumonia-paper

Fits the conformal prediction sets on the stored val predictions, counts the films behind each threshold, writes both
and the weights' SHA-256 into config.json, and writes all results and figures anew (unless --no_results); of a study's
record, which has no weights, the results alone. With --dataset, the films are read once
to add what only they tell: which are pixel-identical, and which look unlike films (after hf-pneumo fit-ood).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hf_pneumo.evaluation.classification.conformal import COVERAGE
from hf_pneumo.evaluation.classification.reevaluate import add_film_columns, refit, remeasure
from hf_pneumo.models.checkpoint import load
from hf_pneumo.models.config import WEIGHTS, read_config
from hf_pneumo.reporting.figures import draw_report


@dataclass(frozen=True)
class Arguments:
    checkpoints: list[str] = field(metadata={"help": "one or more checkpoint folders"})
    dataset: str | None = field(
        default=None, metadata={"help": "the source that was predicted, to find identical and unlike films"}
    )
    coverage: float | None = field(
        default=None, metadata={"help": f"how often a set is to hold the truth (default: as stored, else {COVERAGE})"}
    )
    results: bool = field(default=True, metadata={"help": "write results and figures anew"})
    cache: str | None = field(default=None, metadata={"help": "folder for decoded films"})


def run(arguments: Arguments) -> None:
    for where in arguments.checkpoints:
        if not Path(where).is_dir():
            raise ValueError(f"`checkpoints` {where!r} is no folder here; only such can be measured again")
        folder = Path(where)
        if complete := (folder / WEIGHTS).is_file():
            checkpoint = refit(load(where), coverage=arguments.coverage)
            if arguments.dataset:
                add_film_columns(checkpoint, arguments.dataset, cache=arguments.cache)
        elif arguments.dataset:
            raise ValueError(f"`dataset` is of no use for {where}, which has no {WEIGHTS}; leave it out")
        for path, predictions, report in remeasure(folder, read_config(folder)) if arguments.results else ():
            report.write(path)
            if complete:
                draw_report(folder / "figures" / path.stem, predictions, report)
            print(path)
