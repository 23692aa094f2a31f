"""Compare models on the same films, two by two: McNemar, DeLong, and a bootstrap by patient of the differences.

    hf-pneumo compare runs/a/results/paper-test.json runs/b/results/paper-test.json --output runs/compared

Give results or predictions of two or more evaluations; each needs the other file beside it, as evaluation writes them.
The table says in words which differences are within noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hf_pneumo.evaluation.bootstrap import RESAMPLES
from hf_pneumo.evaluation.classification.paired_tests import compare, read_scored
from hf_pneumo.experiments.summary import write_comparison
from hf_pneumo.reporting.tables import comparison_text


@dataclass(frozen=True)
class Arguments:
    results: list[str] = field(metadata={"help": "results (.json) or predictions (.parquet), two or more"})
    output: str | None = field(default=None, metadata={"help": "folder for comparison.json and comparison.md"})
    resamples: int = field(default=RESAMPLES, metadata={"help": "draws of the bootstrap"})

    def __post_init__(self):
        if self.resamples < 1:
            raise ValueError(f"`resamples` is {self.resamples}; give a whole number from 1")


def run(arguments: Arguments) -> None:
    report = compare([read_scored(path) for path in arguments.results], resamples=arguments.resamples)
    if arguments.output:
        write_comparison(Path(arguments.output), "comparison", report)
    print(comparison_text(report))
