"""Measure checkpoints again from the predictions that they hold, without running their networks.

    python scripts/reevaluate.py --checkpoints space/checkpoints/pneumonia-official space/checkpoints/pneumonia-paper

Fits the conformal prediction sets on the stored val predictions, writes them into config.json, and writes all results
and figures anew; of a study's record, which has no weights, the results alone. With --dataset, the films are read once
to add what only they tell: which are pixel-identical, and which look unlike films (after scripts/fit_ood.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import _cli

from hf_pneumo.evaluation.classification.conformal import COVERAGE
from hf_pneumo.evaluation.classification.reevaluate import add_film_columns, fit_sets_of, remeasure
from hf_pneumo.models.checkpoint import WEIGHTS, load, read_config


@dataclass(frozen=True)
class Arguments:
    checkpoints: list[str] = field(metadata={"help": "one or more checkpoint folders"})
    dataset: str | None = field(
        default=None, metadata={"help": "the source that was predicted, to find identical and unlike films"}
    )
    coverage: float = field(default=COVERAGE, metadata={"help": "how often a prediction set is to hold the truth"})
    cache: str | None = field(default=None, metadata={"help": "folder for decoded films"})


def run(arguments: Arguments) -> None:
    for where in arguments.checkpoints:
        if not Path(where).is_dir():
            raise ValueError(f"`checkpoints` {where!r} is no folder here; only such can be measured again")
        folder = Path(where)
        if complete := (folder / WEIGHTS).is_file():
            checkpoint = fit_sets_of(load(where), coverage=arguments.coverage)
            if arguments.dataset:
                add_film_columns(checkpoint, arguments.dataset, cache=arguments.cache)
        elif arguments.dataset:
            raise ValueError(f"`dataset` is of no use for {where}, which has no {WEIGHTS}; leave it out")
        for path in remeasure(folder, read_config(folder), figures=complete):
            print(path)


if __name__ == "__main__":
    _cli.main(Arguments, run, __doc__)
