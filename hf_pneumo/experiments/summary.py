"""The one table of a study: mean and spread over seeds, a row a model, also for one that could not be trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hf_pneumo.data.labels import TASKS
from hf_pneumo.data.sources import source_name
from hf_pneumo.evaluation.bootstrap import RESAMPLES
from hf_pneumo.evaluation.classification.baselines import BaselinesReport, baselines_path
from hf_pneumo.evaluation.classification.metrics import Estimates, LabelReport
from hf_pneumo.evaluation.classification.operating_points import MEASURED
from hf_pneumo.evaluation.classification.paired_tests import ComparisonReport, compare, read_scored
from hf_pneumo.evaluation.classification.report import ClassificationReport
from hf_pneumo.experiments.published import published_lines
from hf_pneumo.experiments.study import Run, Study
from hf_pneumo.files import write_text
from hf_pneumo.models.config import CheckpointConfig, read_config
from hf_pneumo.reporting.comparison_figures import draw_label_aurocs, draw_seeds
from hf_pneumo.reporting.formatting import markdown_table
from hf_pneumo.reporting.tables import comparison_text

METRICS = {
    "auroc": "AUROC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "f1": "F1",
    "ece": "ECE",
}
PROMISE = "0.95"  # the sensitivity that screening is most often asked for
PLOTTED = ("auroc", "accuracy", "balanced_accuracy")


@dataclass(frozen=True)
class Entry:
    """What becomes a row: the measured checkpoints of one model and variant, or another checkpoint beside the runs.

    results: the checkpoints' results files on one subset.
    """

    name: str
    results: tuple[Path, ...]
    of: int = 1
    note: str = ""

    @cached_property
    def reports(self) -> list[ClassificationReport]:
        return [ClassificationReport.read(path) for path in self.results]


def write_summary(
    study: Study,
    *,
    title: str,
    folder: Path | None = None,
    baselines: Path | None = None,
    resamples: int = RESAMPLES,
) -> list[Path]:
    """Write summary.csv, summary.md and a figure per subset, from the runs' results alone, to ``folder`` (default:
    the study's output).

    Where two or more runs of one seed are measured on the same films, also their paired comparison; where there are
    several labels, also a table and a figure label by label. ``baselines``: as for `read_report`.
    """
    folder = folder or Path(study.output)
    folder.mkdir(parents=True, exist_ok=True)
    by_subset = {subset: entries(study, subset) for subset in study.splits}
    both = [(subset, entry) for subset, listed in by_subset.items() for entry in listed]
    rows = [{"model": entry.name, "subset": subset} | summary_row(entry) for subset, entry in both]
    pd.DataFrame(rows).to_csv(folder / "summary.csv", index=False)
    written, text = [folder / "summary.csv"], [f"# {title}", ""]
    for subset, listed in by_subset.items():
        text += [f"## {study.protocol} {subset}", "", *as_lines(listed, trivial_models(study, subset, baselines))]
        text += [*published_lines(study.protocol, subset), ""]
        if any(entry.results for entry in listed):
            values = {METRICS[metric]: {e.name: _values(e.reports, metric) for e in listed} for metric in PLOTTED}
            written.append(draw_seeds(folder / f"summary-{subset}.png", values, f"{study.protocol} {subset}"))
        seed, peers = _peers(study, subset)
        if len(peers) > 1:
            lines, paths = _compare(folder, seed, peers, subset, resamples)
            text += lines
            written += paths
    write_text(folder / "summary.md", "\n".join(text))
    return [*written, folder / "summary.md"]


def entries(study: Study, subset: str) -> list[Entry]:
    """The study's models and variants, also those of which nothing could be measured, then what else lies there."""
    listed, runs = [], study.runs()
    for name in dict.fromkeys(map(_name, runs)):
        named = [run for run in runs if _name(run) == name]
        done = tuple(run.results(subset) for run in named if run.is_measured(subset))
        listed.append(Entry(name, done, len(named), _why([run for run in named if not run.is_measured(subset)])))
    return listed + _others(study, subset)


def _others(study: Study, subset: str) -> list[Entry]:
    return [Entry(path.parents[1].name, (path,)) for path in study.others(subset)]


def _name(run: Run) -> str:
    return run.model + (f", {run.variant}" if run.variant else "")


def summary_row(entry: Entry) -> dict[str, Any]:
    """What all measured seeds of an entry say together."""
    configs = [read_config(path.parents[1]) for path in entry.results]
    records = [config.training for config in configs]
    row: dict[str, Any] = {"model": entry.name, "seeds": len(entry.results), "of": entry.of}
    row["parameters"] = records[0].parameters if records else None
    row["initial_weights"] = ", ".join(dict.fromkeys(map(_origin, configs)))
    row |= _over_seeds(entry.reports, METRICS)
    row |= _spread("seconds", [record.seconds for record in records if record.seconds is not None])
    row["hardware"] = ", ".join(dict.fromkeys(record.hardware or "" for record in records))
    row["note"] = entry.note
    return row


def _origin(config: CheckpointConfig) -> str:
    """What a run's weights were before it; of an ensemble, its members and how they are weighted."""
    if config.members:
        return f"{config.training.weighting} mean of " + " + ".join(member.name for member in config.members)
    return config.training.origin


def _values(reports: Iterable[ClassificationReport | LabelReport], metric: str) -> list[float]:
    """The figures of those reports that have one."""
    return [estimate.value for report in reports if (estimate := report.metrics.get(metric))]


def _over_seeds(
    reports: Sequence[ClassificationReport | LabelReport], metrics: Iterable[str]
) -> dict[str, float | None]:
    """`_spread` of the errors and of each of the ``metrics``."""
    row = _spread("errors", [report.errors for report in reports if report.errors is not None])
    for metric in metrics:
        row |= _spread(metric, _values(reports, metric))
    return row


def _spread(name: str, values: Sequence[float]) -> dict[str, float | None]:
    """Mean and standard deviation (n - 1) over seeds; no spread for one."""
    return {
        f"{name}_mean": float(np.mean(values)) if values else None,
        f"{name}_sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
    }


def _why(waiting: Sequence[Run]) -> str:
    """The reasons why runs are not measured, each with its seeds."""
    seeds: dict[str, list[str]] = {}
    for run in waiting:
        seeds.setdefault(run.failure or "not trained yet", []).append(str(run.seed))
    return "; ".join(
        f"seed{'s'[: len(numbers) > 1]} {', '.join(numbers)}: {reason}" for reason, numbers in seeds.items()
    )


def as_lines(listed: Sequence[Entry], baselines: Mapping[str, LabelReport]) -> list[str]:
    """The table in Markdown: entries, then what `trivial_models` reach on the same films."""
    heads = ["model", "M parameters", "from", "seeds", "errors", *METRICS.values(), "training, s", "hardware", ""]
    rows = []
    for row in map(summary_row, listed):
        millions = "" if row["parameters"] is None else f"{row['parameters'] / 1e6:.2f}"
        cells = [row["model"], millions, row["initial_weights"], f"{row['seeds']} of {row['of']}"]
        cells += [_cell(row, "errors", 1), *(_cell(row, metric, 4) for metric in METRICS), _cell(row, "seconds", 0)]
        rows.append([*cells, row["hardware"], row["note"].replace("|", "\\|")])
    for name, report in baselines.items():
        values = [report.metrics.get(metric) for metric in METRICS]
        cells = ["" if value is None else f"{value.value:.4f}" for value in values]
        rows.append([f"*trivial: {name}*", "", "", "", str(report.errors), *cells, "", "", ""])
    table = markdown_table(heads, rows).rstrip("\n").split("\n")
    return ["Mean ± standard deviation over seeds.", "", *table, *_at_sensitivity(listed)]


def _at_sensitivity(listed: Sequence[Entry]) -> list[str]:
    """The same models at the threshold that promises :data:`PROMISE` on val; nothing where it was not measured."""
    rows = []
    for entry in listed:
        promised = [report.at_sensitivity or {} for report in entry.reports]
        reports = [scores[PROMISE] for (scores,) in (o.values() for o in promised if len(o) == 1) if PROMISE in scores]
        if reports and len(reports) == len(entry.reports):
            row = _over_seeds(reports, MEASURED)
            rows.append([entry.name, _cell(row, "errors", 1), *(_cell(row, name, 4) for name in MEASURED)])
    if not rows:
        return []
    title = f"At the threshold of each model that has a sensitivity of {PROMISE} on val:"
    table = markdown_table(["model", "errors", *(METRICS[name] for name in MEASURED)], rows)
    return ["", title, "", *table.rstrip("\n").split("\n")]


def _cell(row: Mapping[str, Any], name: str, digits: int) -> str:
    mean, sd = row[f"{name}_mean"], row[f"{name}_sd"]
    if mean is None:
        return ""
    if sd is None:
        return f"{mean:.{digits}f}".removesuffix(".0")
    return f"{mean:.{digits}f} ± {sd:.{digits}f}"


def trivial_models(study: Study, subset: str, baselines: Path | None = None) -> Mapping[str, LabelReport]:
    """What trivial models reach on the same films, of a task of one score, which is theirs: from the folder
    ``baselines``, else from beside the first run that has them."""
    if len(TASKS[study.runs()[0].config.task].score_names) > 1:
        return {}
    for path in baseline_files(study, subset, baselines):
        if path.is_file():
            return BaselinesReport.read(path).models
    return {}


def baseline_files(study: Study, subset: str, baselines: Path | None = None) -> Iterable[Path]:
    """Where the baselines of the study's films may lie, the first choice first."""
    config = study.runs()[0].config
    name = config.dataset_name or source_name(config.dataset)
    yield baselines_path(baselines or Path(study.output) / "baselines", name, study.protocol, subset)
    for ending in ("baselines", "controls"):  # beside the run that they were measured with; the second before 0.2
        for run in study.runs():
            yield run.results(subset).with_name(f"{study.protocol}-{subset}-{ending}.json")


def _peers(study: Study, subset: str) -> tuple[int, list[Entry]]:
    """The first seed that has the most measured runs, and these, which differ in nothing else; then what else lies
    there."""
    by_seed: dict[int, list[Entry]] = {}
    for run in study.runs():
        if run.is_measured(subset):
            by_seed.setdefault(run.seed, []).append(Entry(_name(run), (run.results(subset),)))
    seed, peers = max(by_seed.items(), key=lambda pair: len(pair[1]), default=(0, []))
    return seed, peers + _others(study, subset)


def _compare(
    folder: Path, seed: int, peers: Sequence[Entry], subset: str, resamples: int
) -> tuple[list[str], list[Path]]:
    """The paired comparison of ``peers``, written beside the summary; its lines for the summary, and the files."""
    report = compare([read_scored(entry.results[0]) for entry in peers], resamples=resamples)
    written = write_comparison(folder, f"comparison-{subset}", report)
    lines = [f"Compared film by film (seed {seed}), all pairs in comparison-{subset}.md:", ""]
    if len(report.labels) == 1:
        (comparison,) = report.labels.values()
        return [
            *lines,
            f"By AUROC (> told apart, ~ within noise): {comparison.ranking or comparison.note}",
            "",
        ], written
    reports = {entry.name: entry.reports[0].labels for entry in peers}
    written.append(draw_label_aurocs(folder / f"labels-{subset}.png", reports, subset))
    return [*lines, *_label_table(reports, report), ""], written


def write_comparison(folder: Path, stem: str, report: ComparisonReport) -> list[Path]:
    """Write the comparison as JSON and as Markdown; returns both paths."""
    paths = [folder / f"{stem}.json", folder / f"{stem}.md"]
    report.write(paths[0])
    write_text(paths[1], comparison_text(report))
    return paths


def _label_table(reports: Mapping[str, Mapping[str, LabelReport]], compared: ComparisonReport) -> list[str]:
    """AUROC of every label and model with 95 % intervals; of two models also their paired difference."""
    pair = len(reports) == 2
    heads = ["label", "films", "positives", *reports] + (["difference", ""] if pair else [])
    rows = []
    for label, comparison in compared.labels.items():
        cells = [
            label,
            str(comparison.n),
            str(comparison.positives),
            *(_auroc(report[label].metrics) for report in reports.values()),
        ]
        if pair and comparison.pairs:
            difference = comparison.pairs[0].difference["auroc"]
            cells += [f"{difference:.3f}", "within noise" if difference.holds_zero else "told apart"]
        elif pair:
            cells += ["", comparison.note or ""]
        rows.append(cells)
    return markdown_table(heads, rows).rstrip("\n").split("\n")


def _auroc(metrics: Estimates) -> str:
    estimate = metrics["auroc"]
    return f"{estimate:.3f}" if estimate else ""
