"""Figures that others have published for the same test, beside a study's own: published.json, each with its source.

A single training says little about a recipe. What its test set alone allows to be said is the binomial interval of its
errors (Clopper and Pearson 1934); how much trainings differ is what the seeds of a study show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from scipy import stats

from hf_pneumo.files import read_json
from hf_pneumo.records import JsonRecord
from hf_pneumo.reporting.formatting import markdown_table

FILE = Path(__file__).with_name("published.json")
LEVEL = 0.95


@dataclass(frozen=True)
class PublishedResult(JsonRecord):
    """What one model reached. ``confusion``: films, ((TN, FP), (FN, TP)). ``auroc``: in [0, 1]."""

    confusion: tuple[tuple[int, int], tuple[int, int]]
    auroc: float

    @property
    def films(self) -> int:
        return sum(map(sum, self.confusion))

    @property
    def errors(self) -> int:
        return self.confusion[0][1] + self.confusion[1][0]

    @property
    def sensitivity(self) -> float:
        missed, hits = self.confusion[1]
        return hits / (missed + hits)

    @property
    def specificity(self) -> float:
        passed, alarms = self.confusion[0]
        return passed / (passed + alarms)

    def errors_interval(self) -> tuple[float, float]:
        """The exact binomial interval of the number of errors on as many films, at a level of 95 %."""
        low, high = stats.binomtest(self.errors, self.films).proportion_ci(LEVEL, method="exact")
        return low * self.films, high * self.films


@dataclass(frozen=True)
class PublishedTable(JsonRecord):
    """The results of one publication on one test. ``source``: where they stand and how they came about."""

    source: str
    protocol: str
    subset: str
    models: Mapping[str, PublishedResult]


@cache
def published_tables() -> tuple[PublishedTable, ...]:
    """All that published.json holds."""
    values: list[Any] = read_json(FILE)
    return tuple(PublishedTable.from_json(table) for table in values)


def published_lines(protocol: str, subset: str) -> list[str]:
    """What has been published for this test, as a table in Markdown; nothing where nothing has."""
    lines: list[str] = []
    for table in published_tables():
        if (table.protocol, table.subset) == (protocol, subset):
            lines += ["", f"As published ({table.source}), errors with their binomial 95 % interval:", ""]
            lines += _rows(table).rstrip("\n").split("\n")
    return lines


def _rows(table: PublishedTable) -> str:
    heads = ["model", "films", "errors", "AUROC", "accuracy", "balanced accuracy", "sensitivity", "specificity"]
    rows = []
    for name, result in sorted(table.models.items(), key=lambda item: item[1].errors):
        low, high = result.errors_interval()
        balanced = (result.sensitivity + result.specificity) / 2
        values = (result.auroc, 1 - result.errors / result.films, balanced, result.sensitivity, result.specificity)
        errors = f"{result.errors} ({low:.0f} to {high:.0f})"
        rows.append([name, str(result.films), errors, *(f"{value:.4f}" for value in values)])
    return markdown_table(heads, rows)
