"""What a checkpoint folder's results/*.json say, as rows of text: a card's every figure comes through here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hf_pneumo.evaluation.classification.baselines import BaselinesReport, baselines_path
from hf_pneumo.evaluation.classification.metrics import LabelReport
from hf_pneumo.evaluation.classification.ood import OodReport
from hf_pneumo.evaluation.classification.region_ablation import SHORTCUTS, RegionAblationReport, RegionReport
from hf_pneumo.evaluation.classification.report import EXTERNAL, ClassificationReport
from hf_pneumo.evaluation.estimate import Estimate
from hf_pneumo.evaluation.explanations.evaluate_faithfulness import FaithfulnessReport
from hf_pneumo.evaluation.explanations.localization import LocalizationReport
from hf_pneumo.files import read_json
from hf_pneumo.models.hub_download import CheckpointError
from hf_pneumo.records import JsonRecord
from hf_pneumo.reporting.formatting import number, with_interval

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

PROTOCOLS = {"official": 0, "strict": 1, "paper": 2}  # the hardest first
SUBSETS = {"test": 0, "val": 1, "train": 2}
BASELINES = ("-baselines", "-controls")  # end the names of files with trivial models' results, now and before 0.2
OOD = "ood"  # names the file with what the check for other pictures is worth
DEEPEST = 3  # levels of a free-form results file that become rows


@dataclass(frozen=True)
class Evaluation:
    """One results file of evaluate: a subset of a data set under a split protocol; `stem` is the file's name.

    `controls`: what trivial models reach on the same films, by their names. `shortcuts`: what this model reaches with
    parts of them hidden, from <stem>-shortcuts.json, by what is shown.
    """

    stem: str
    values: ClassificationReport
    controls: Mapping[str, LabelReport] = field(default_factory=dict)
    shortcuts: Mapping[str, RegionReport] = field(default_factory=dict)

    @property
    def protocol(self) -> str:
        return str(self.values.protocol)

    @property
    def subset(self) -> str:
        return str(self.values.subset)

    @property
    def dataset(self) -> str:
        return str(self.values.dataset)

    @property
    def threshold(self) -> float:
        """Of a task of one score, on its probability."""
        return next(iter(self.values.labels.values())).threshold

    @property
    def errors(self) -> int | str:
        """Films called wrong, where one finding is decided on; else empty."""
        return "" if self.values.errors is None else self.values.errors

    @property
    def confusion(self) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """((TN, FP), (FN, TP)) where one finding is decided on."""
        return self.values.confusion

    def value(self, metric: str) -> float:
        """A metric without its interval; KeyError where it has none."""
        return self.metrics[metric].value

    @property
    def title(self) -> str:
        where = self.protocol if self.protocol == self.subset else f"{self.protocol} {self.subset}"
        return f"{self.values.dataset}, {where}"

    @property
    def has_one_score(self) -> bool:
        """Whether one finding is decided on, and what doubt is worth was measured."""
        return len(self.values.labels) == 1 and bool(self.values.selective)

    @property
    def has_figures(self) -> bool:
        return bool(self.metrics)

    @property
    def metrics(self) -> dict[str, Estimate]:
        """The metrics that have a value."""
        return {name: found for name, found in self.values.metrics.items() if found is not None}

    def cell(self, metric: str, beside: str | None = None) -> str:
        """A metric with its interval, as 0.954 (0.940 to 0.966); that of a control or shortcut where one is named."""
        if beside is None:
            return with_interval(self.metrics.get(metric))
        report = self.controls.get(beside) or self.shortcuts[beside]
        return with_interval(report.metrics.get(metric))

    @property
    def labels(self) -> dict[str, list[str]]:
        """For tasks of several labels: each one's cells under `LABEL_COLUMNS`; too few films are said in one cell."""
        own = self.values.labels
        return {name: _label_cells(report) for name, report in own.items()} if len(own) > 1 else {}

    @property
    def has_causes(self) -> bool:
        """Whether the labels name several causes of the finding, and how they are read was measured."""
        return self.values.causes is not None

    @property
    def groups(self) -> list[tuple[str, int, str, int]]:
        """Subgroups and views: name, films, share called right, errors."""
        both = {**self.values.subgroups, **self.values.views}
        return [(name, group.n, number(group.accuracy), group.errors) for name, group in both.items()]


@dataclass(frozen=True)
class Report:
    """All results of a checkpoint: evaluations (tests of the hardest protocol first), and by their files' names data
    audits, localizations, faithfulness, and whatever else was measured."""

    evaluations: tuple[Evaluation, ...] = ()
    audits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    localizations: Mapping[str, LocalizationReport] = field(default_factory=dict)
    faithfulness: Mapping[str, FaithfulnessReport] = field(default_factory=dict)
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ood: OodReport | None = None

    @property
    def externals(self) -> tuple[Evaluation, ...]:
        """Films from elsewhere, measured as they are."""
        return tuple(e for e in self.evaluations if e.subset == EXTERNAL)

    @property
    def tests(self) -> tuple[Evaluation, ...]:
        return tuple(e for e in self.evaluations if e.subset == "test" and e.has_figures)


def read_report(folder: Path, baselines: Path | None = None) -> Report:
    """Read results/*.json of the checkpoint `folder`; CheckpointError names a file that is damaged.

    ``baselines``: the folder that holds what trivial models reach, a file for each data set, protocol and subset
    (default: results/baselines of the checkout that the checkpoint lies in); the checkpoint's own files stand for those
    that it lacks.
    """
    baselines = baselines or next(
        (place for parent in folder.resolve().parents if (place := parent / "results" / "baselines").is_dir()), None
    )
    contents = {path.stem: _read(path) for path in sorted((folder / "results").glob("*.json"))}
    where = folder / "results"
    measured = [stem for stem, values in contents.items() if {"protocol", "subset", "labels", "n"} <= values.keys()]
    evaluations = []
    for stem in measured:
        values = _typed(ClassificationReport, contents.pop(stem), where / f"{stem}.json")
        own = [contents.pop(stem + end, None) for end in BASELINES]
        regions = _typed_or_none(
            RegionAblationReport, contents.pop(stem + SHORTCUTS, None), where / f"{stem}{SHORTCUTS}.json"
        )
        trivial = _baselines(baselines, values) or next(
            (_typed(BaselinesReport, found, where / f"{stem}{BASELINES[0]}.json") for found in own if found), None
        )
        evaluations.append(
            Evaluation(stem, values, trivial.models if trivial else {}, regions.regions if regions else {})
        )
    evaluations.sort(key=lambda e: (SUBSETS.get(e.subset, 9), PROTOCOLS.get(e.protocol, 9), e.stem))
    ood = _typed_or_none(OodReport, contents.pop(OOD, None), where / f"{OOD}.json")
    audits = {stem: values for stem, values in contents.items() if "straddling_patients" in values}
    localizations = {
        stem: _typed(LocalizationReport, values, where / f"{stem}.json")
        for stem, values in contents.items()
        if {"methods", "baselines"} <= values.keys()
    }
    faithfulness = {
        stem: _typed(FaithfulnessReport, values, where / f"{stem}.json")
        for stem, values in contents.items()
        if {"faithfulness", "randomisation"} & values.keys()
    }
    others = {
        stem: values
        for stem, values in contents.items()
        if not any(stem in kind for kind in (audits, localizations, faithfulness))
    }
    return Report(tuple(evaluations), audits, localizations, faithfulness, others, ood)


def _baselines(folder: Path | None, values: ClassificationReport) -> BaselinesReport | None:
    """The baselines on the films of ``values``, for one score alone; None where ``folder`` holds none."""
    if folder is None or len(values.labels) > 1:
        return None
    path = baselines_path(folder, str(values.dataset), str(values.protocol), str(values.subset))
    return _typed(BaselinesReport, _read(path), path) if path.is_file() else None


_Record = TypeVar("_Record", bound=JsonRecord)


def _typed(record: type[_Record], values: Mapping[str, Any], path: Path) -> _Record:
    """The record in the JSON object ``values`` of the file ``path``."""
    try:
        return record.from_json(values)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be read: {error}; evaluate the checkpoint again.") from error


def _typed_or_none(record: type[_Record], values: Mapping[str, Any] | None, path: Path) -> _Record | None:
    """The same; None where there is no such file."""
    return None if values is None else _typed(record, values, path)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        values = read_json(path)
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON ({error}); evaluate the checkpoint again.") from error
    if not isinstance(values, Mapping):
        raise CheckpointError(f"{path} holds no results; evaluate the checkpoint again.")
    return values


def _label_cells(report: LabelReport) -> list[str]:
    counted = [str(report.positives), number(report.prevalence)]
    if report.note:
        return [*counted, report.note, *[""] * (len(LABEL_COLUMNS) - 3)]
    metrics, half = report.metrics, report.at_half.metrics if report.at_half else {}
    ranked = [with_interval(metrics[name]) for name in ("auroc", "auprc")]
    called = [with_interval(metrics[name]) for name in ("f1", "precision", "sensitivity")]
    at_half = [with_interval(half.get(name)) for name in ("f1", "precision", "sensitivity")]
    return [*counted, *ranked, number(report.threshold), *called, *at_half]


def rows(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Name and value of every figure in a free-form results file; lists and anything deeper stay in the file."""
    for key, value in values.items():
        here = (*path, str(key).replace("_", " "))
        if isinstance(value, Mapping) and "value" in value:
            yield ", ".join(here), with_interval(Estimate.from_json(value))
        elif isinstance(value, Mapping) and len(here) < DEEPEST:
            yield from rows(value, here)
        elif isinstance(value, (int, float, str)):
            yield ", ".join(here), number(value)
