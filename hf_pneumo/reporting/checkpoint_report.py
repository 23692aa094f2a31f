"""What a checkpoint folder's results/*.json say, as rows of text: a card's every figure comes through here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_pneumo.evaluation.classification.region_ablation import SHORTCUTS
from hf_pneumo.evaluation.classification.report import EXTERNAL
from hf_pneumo.evaluation.explanations.evaluate_faithfulness import trust_table
from hf_pneumo.evaluation.results import read_results
from hf_pneumo.models.hub_download import CheckpointError

# Our metric, its heading, and the Hub's name for it where it has one.
HEADINGS = {
    "auroc": ("AUROC", "roc_auc"),
    "auprc": ("AUPRC", "average_precision"),
    "accuracy": ("Accuracy", "accuracy"),
    "balanced_accuracy": ("Balanced accuracy", "balanced_accuracy"),
    "sensitivity": ("Sensitivity", "recall"),
    "specificity": ("Specificity", "specificity"),
    "precision": ("Precision", "precision"),
    "f1": ("F1", "f1"),
    "brier": ("Brier score", "brier_score"),
    "ece": ("ECE", "ece"),
}
LABEL_COLUMNS = (
    "positives", "prevalence", "AUROC", "AUPRC", "threshold", "F1", "precision", "recall", "F1 at 0.5",
    "precision at 0.5", "recall at 0.5",
)  # fmt: skip
HEADLINE = ("auroc", "accuracy", "balanced_accuracy", "sensitivity", "specificity")
CALIBRATION = ("brier", "ece")
PROTOCOLS = {"official": 0, "strict": 1, "paper": 2}  # the hardest first
SUBSETS = {"test": 0, "val": 1, "train": 2}
CONTROLS = "-controls"  # ends the names of files with trivial models' results
OOD = "ood"  # names the file with what the check for other pictures is worth
DEEPEST = 3  # levels of a free-form results file that become rows


@dataclass(frozen=True)
class Evaluation:
    """One results file of evaluate: a subset of a data set under a split protocol; `stem` is the file's name.

    `controls`: what trivial models reach on the same films, from the file <stem>-controls.json, by their names.
    `shortcuts`: what this model reaches with parts of them hidden, from <stem>-shortcuts.json, by what is shown.
    """

    stem: str
    values: Mapping[str, Any]
    controls: Mapping[str, Mapping[str, Any]]
    shortcuts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def protocol(self) -> str:
        return str(self.values["protocol"])

    @property
    def subset(self) -> str:
        return str(self.values["subset"])

    @property
    def title(self) -> str:
        where = self.protocol if self.protocol == self.subset else f"{self.protocol} {self.subset}"
        return f"{self.values['dataset']}, {where}"

    @property
    def has_one_score(self) -> bool:
        """Whether one finding is decided on, and what doubt is worth was measured."""
        return len(self.values["labels"]) == 1 and bool(self.values.get("selective"))

    @property
    def has_figures(self) -> bool:
        return bool(self.metrics)

    @property
    def metrics(self) -> dict[str, Mapping[str, float | None]]:
        """The metrics that have a value."""
        return {name: found for name, found in self.values.get("metrics", {}).items() if found is not None}

    def cell(self, metric: str, beside: str | None = None) -> str:
        """A metric with its interval, as 0.954 (0.940 to 0.966); that of a control or shortcut where one is named."""
        metrics = self.metrics if beside is None else {**self.controls, **self.shortcuts}[beside]["metrics"]
        return with_interval(metrics.get(metric))

    @property
    def labels(self) -> dict[str, list[str]]:
        """For tasks of several labels: each one's cells under `LABEL_COLUMNS`; too few films are said in one cell."""
        own = self.values["labels"]
        return {name: _label_cells(found) for name, found in own.items()} if len(own) > 1 else {}

    @property
    def label_metrics(self) -> Iterator[tuple[str, str, float]]:
        """For tasks of several labels: label, metric and value of every figure that a label has."""
        own = self.values["labels"]
        for label, found in own.items() if len(own) > 1 else ():
            for metric, value in found["metrics"].items():
                if value is not None:
                    yield label, metric, value["value"]

    @property
    def has_causes(self) -> bool:
        """Whether the labels name several causes of the finding, and how they are read was measured."""
        return "causes" in self.values

    @property
    def groups(self) -> list[tuple[str, int, str, int]]:
        """Subgroups and views: name, films, share called right, errors."""
        both = {**self.values.get("subgroups", {}), **self.values.get("views", {})}
        return [(name, own["n"], number(own["accuracy"]), own["errors"]) for name, own in both.items()]


@dataclass(frozen=True)
class Report:
    """All results of a checkpoint: evaluations (tests of the hardest protocol first), and by their files' names data
    audits, localizations, faithfulness tables (Markdown), and whatever else was measured."""

    evaluations: tuple[Evaluation, ...]
    audits: Mapping[str, Mapping[str, Any]]
    localizations: Mapping[str, Mapping[str, Any]]
    faithfulness: Mapping[str, str]
    others: Mapping[str, Mapping[str, Any]]
    ood: Mapping[str, Any] = field(default_factory=dict)  # results/ood.json of `evaluation.classification.ood`

    @property
    def externals(self) -> tuple[Evaluation, ...]:
        """Films from elsewhere, measured as they are."""
        return tuple(e for e in self.evaluations if e.subset == EXTERNAL)

    @property
    def tests(self) -> tuple[Evaluation, ...]:
        return tuple(e for e in self.evaluations if e.subset == "test" and e.has_figures)


def read_report(folder: Path) -> Report:
    """Read results/*.json of the checkpoint `folder`; CheckpointError names a file that is damaged."""
    found = {path.stem: _read(path) for path in sorted((folder / "results").glob("*.json"))}
    measured = [stem for stem, values in found.items() if {"protocol", "subset", "labels", "n"} <= values.keys()]
    beside = {stem: [_entries(found.pop(stem + end, {})) for end in (CONTROLS, SHORTCUTS)] for stem in measured}
    evaluations = [Evaluation(stem, found.pop(stem), *beside[stem]) for stem in measured]
    evaluations.sort(key=lambda e: (SUBSETS.get(e.subset, 9), PROTOCOLS.get(e.protocol, 9), e.stem))
    ood = found.pop(OOD, {})
    audits = {stem: values for stem, values in found.items() if "straddling_patients" in values}
    boxed = {stem: values for stem, values in found.items() if {"methods", "baselines"} <= values.keys()}
    trusted = {stem: values for stem, values in found.items() if {"faithfulness", "randomisation"} & values.keys()}
    others = {
        stem: values for stem, values in found.items() if not any(stem in kind for kind in (audits, boxed, trusted))
    }
    trust = {stem: trust_table(values) for stem, values in trusted.items()}
    return Report(tuple(evaluations), audits, boxed, trust, others, ood)


def label_table(title: str, evaluation: Evaluation) -> str:
    """Markdown, for tasks of several labels: a row each under `LABEL_COLUMNS`."""
    lines = [f"| {title} | " + " | ".join(LABEL_COLUMNS) + " |", "|---" * (len(LABEL_COLUMNS) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(cells) + " |" for name, cells in evaluation.labels.items()]
    return "\n".join(lines) + "\n"


def causes_table(title: str, evaluation: Evaluation) -> str:
    """Markdown, where the labels name causes of one finding: how films are read, and how causes are told apart."""
    found = evaluation.values["causes"]
    names, metrics = found["labels"], found["metrics"]
    lines = [f"| {title}, truly | " + " | ".join(f"read as {name}" for name in names) + " | read right |"]
    lines.append("|---" * (len(names) + 2) + "|")
    for name, row, right in zip(names, found["confusion"], range(len(names)), strict=True):
        share = number(row[right] / sum(row)) if sum(row) else "no film"
        lines.append(f"| {name} | " + " | ".join(map(str, row)) + f" | {share} |")
    told = [
        f"Among the {own['n']} films with the finding, {name} is told from the rest by an AUROC of "
        f"{with_interval(own['metrics']['auroc'])}, right in {with_interval(own['metrics']['accuracy'])} of them."
        for name, own in found["told_apart"].items()
    ]
    first = f"Read right: {with_interval(metrics['accuracy'])}, mean over the labels"
    return "\n".join([*lines, "", " ".join([f"{first} {with_interval(metrics['balanced_accuracy'])}.", *told])]) + "\n"


def _entries(values: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {name: value for name, value in values.items() if isinstance(value, Mapping)}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        values = read_results(path)
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON ({error}); evaluate the checkpoint again.") from error
    if not isinstance(values, Mapping):
        raise CheckpointError(f"{path} holds no results; evaluate the checkpoint again.")
    return values


def _label_cells(found: Mapping[str, Any]) -> list[str]:
    counted = [str(found["positives"]), number(found["prevalence"])]
    if "note" in found:
        return [*counted, found["note"], *[""] * (len(LABEL_COLUMNS) - 3)]
    metrics, half = found["metrics"], found.get("at_half", {}).get("metrics", {})
    ranked = [with_interval(metrics[name]) for name in ("auroc", "auprc")]
    called = [with_interval(metrics[name]) for name in ("f1", "precision", "sensitivity")]
    at_half = [with_interval(half.get(name)) for name in ("f1", "precision", "sensitivity")]
    return [*counted, *ranked, number(found["threshold"]), *called, *at_half]


def with_interval(found: Mapping[str, float | None] | None) -> str:
    if not found or found.get("value") is None:
        return "not defined"
    low, high = found.get("low"), found.get("high")
    interval = "" if low is None or high is None else f" ({number(low)} to {number(high)})"
    return number(found["value"]) + interval


def number(value: object) -> str:
    """Three decimals for a fraction, digits as they are for a count, text as it is."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


def rows(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Name and value of every figure in a free-form results file; lists and anything deeper stay in the file."""
    for key, value in values.items():
        here = (*path, str(key).replace("_", " "))
        if isinstance(value, Mapping) and "value" in value:
            yield ", ".join(here), with_interval(value)
        elif isinstance(value, Mapping) and len(here) < DEEPEST:
            yield from rows(value, here)
        elif isinstance(value, (int, float, str)):
            yield ", ".join(here), number(value)
