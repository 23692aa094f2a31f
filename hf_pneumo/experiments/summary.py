"""The one table of a study: mean and spread over seeds, a row a model, also for one that could not be trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hf_pneumo.evaluation.classification.metrics import RESAMPLES
from hf_pneumo.evaluation.classification.operating_points import MEASURED
from hf_pneumo.evaluation.classification.paired_tests import as_markdown, compare, is_noise, read_scored
from hf_pneumo.evaluation.results import read_results, write_results
from hf_pneumo.experiments.study import Run, Study
from hf_pneumo.models.checkpoint import CheckpointConfig, read_config
from hf_pneumo.reporting.figures import DPI, INK

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
COLOURS = (INK, "#c0392b", "#7f8c8d", "#8e44ad")


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
    def reports(self) -> list[dict[str, Any]]:
        return [read_results(path) for path in self.results]


def write_summary(study: Study, *, title: str, folder: Path | None = None, resamples: int = RESAMPLES) -> list[Path]:
    """Write summary.csv, summary.md and a figure per subset, from the runs' results alone, to ``folder`` (default:
    the study's output).

    Where two or more runs of one seed are measured on the same films, also their paired comparison; where there are
    several labels, also a table and a figure label by label.
    """
    folder = folder or Path(study.output)
    folder.mkdir(parents=True, exist_ok=True)
    found = {subset: entries(study, subset) for subset in study.subsets}
    both = [(subset, entry) for subset, own in found.items() for entry in own]
    rows = [{"model": entry.name, "subset": subset} | summary_row(entry) for subset, entry in both]
    pd.DataFrame(rows).to_csv(folder / "summary.csv", index=False)
    written, text = [folder / "summary.csv"], [f"# {title}", ""]
    for subset, own in found.items():
        text += [f"## {study.protocol} {subset}", "", *as_lines(own, trivial_models(study, subset)), ""]
        if any(entry.results for entry in own):
            written.append(_draw(folder / f"summary-{subset}.png", own, f"{study.protocol} {subset}"))
        seed, peers = _peers(study, subset)
        if len(peers) > 1:
            told, paths = _compare(folder, seed, peers, subset, resamples)
            text += told
            written += paths
    (folder / "summary.md").write_text("\n".join(text), encoding="utf-8")
    return [*written, folder / "summary.md"]


def entries(study: Study, subset: str) -> list[Entry]:
    """The study's models and variants, also those of which nothing could be measured, then what else lies there."""
    found, runs = [], study.runs()
    for name in dict.fromkeys(map(_name, runs)):
        own = [run for run in runs if _name(run) == name]
        done = tuple(run.results(subset) for run in own if run.is_measured(subset))
        found.append(Entry(name, done, len(own), _why([run for run in own if not run.is_measured(subset)])))
    return found + _others(study, subset)


def _others(study: Study, subset: str) -> list[Entry]:
    return [Entry(path.parents[1].name, (path,)) for path in study.others(subset)]


def _name(run: Run) -> str:
    return run.model + (f", {run.variant}" if run.variant else "")


def summary_row(entry: Entry) -> dict[str, Any]:
    """What all measured seeds of an entry say together."""
    configs = [read_config(path.parents[1]) for path in entry.results]
    records = [config.training for config in configs]
    row: dict[str, Any] = {"model": entry.name, "seeds": len(entry.results), "of": entry.of}
    row["parameters"] = records[0]["parameters"] if records else None
    row["initial_weights"] = ", ".join(dict.fromkeys(map(_origin, configs)))
    row |= _over_seeds(entry.reports, METRICS)
    row |= _spread("seconds", [record.get("seconds") for record in records])
    row["hardware"] = ", ".join(dict.fromkeys(record.get("hardware", "") for record in records))
    row["note"] = entry.note
    return row


def _origin(config: CheckpointConfig) -> str:
    """`origin` of a run; of an ensemble, its members and how they are weighted."""
    if config.members:
        return f"{config.training['weighting']} mean of " + " + ".join(member.name for member in config.members)
    return origin(config.training)


def origin(training: Mapping[str, Any]) -> str:
    """What a run's weights were before it, and who taught it, from its training record."""
    teacher = training.get("teacher")
    taught = f", taught by {teacher['architecture']} from {teacher['initial_weights']}" if teacher else ""
    return training["initial_weights"] + taught


def _value(report: Mapping[str, Any], metric: str) -> float | None:
    found = report["metrics"].get(metric)
    return found["value"] if found else None


def _over_seeds(reports: Sequence[Mapping[str, Any]], metrics: Iterable[str]) -> dict[str, float | None]:
    """`_spread` of the errors and of each of the ``metrics``."""
    row = _spread("errors", [report.get("errors") for report in reports])
    for metric in metrics:
        row |= _spread(metric, [_value(report, metric) for report in reports])
    return row


def _spread(name: str, values: Sequence[float | None]) -> dict[str, float | None]:
    """Mean and standard deviation (n - 1) over seeds; no spread for one."""
    known = [v for v in values if v is not None]
    return {
        f"{name}_mean": float(np.mean(known)) if known else None,
        f"{name}_sd": float(np.std(known, ddof=1)) if len(known) > 1 else None,
    }


def _why(waiting: Sequence[Run]) -> str:
    """The reasons why runs are not measured, each with its seeds."""
    seeds: dict[str, list[str]] = {}
    for run in waiting:
        seeds.setdefault(run.failure or "not trained yet", []).append(str(run.seed))
    return "; ".join(f"seed{'s'[: len(own) > 1]} {', '.join(own)}: {reason}" for reason, own in seeds.items())


def as_lines(found: Sequence[Entry], controls: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The table in Markdown: entries, then what `trivial_models` reach on the same films."""
    heads = ["model", "M parameters", "from", "seeds", "errors", *METRICS.values(), "training, s", "hardware", ""]
    lines = ["Mean ± standard deviation over seeds.", ""]
    lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in map(summary_row, found):
        millions = "" if row["parameters"] is None else f"{row['parameters'] / 1e6:.2f}"
        cells = [row["model"], millions, row["initial_weights"], f"{row['seeds']} of {row['of']}"]
        cells += [_cell(row, "errors", 1), *(_cell(row, metric, 4) for metric in METRICS), _cell(row, "seconds", 0)]
        lines.append("| " + " | ".join([*cells, row["hardware"], row["note"].replace("|", "\\|")]) + " |")
    for name, report in controls.items():
        cells = [f"*trivial: {name}*", "", "", "", str(report["errors"])]
        values = [_value(report, metric) for metric in METRICS]
        cells += ["" if value is None else f"{value:.4f}" for value in values]
        lines.append("| " + " | ".join([*cells, "", "", ""]) + " |")
    return lines + _at_sensitivity(found)


def _at_sensitivity(found: Sequence[Entry]) -> list[str]:
    """The same models at the threshold that promises :data:`PROMISE` on val; nothing where it was not measured."""
    heads = ["model", "errors", *(METRICS[name] for name in MEASURED)]
    title = f"At the threshold of each model that has a sensitivity of {PROMISE} on val:"
    lines = []
    for entry in found:
        own = [report.get("at_sensitivity", {}) for report in entry.reports]
        reports = [scores[PROMISE] for (scores,) in (o.values() for o in own if len(o) == 1) if PROMISE in scores]
        if reports and len(reports) == len(entry.reports):
            row = _over_seeds(reports, MEASURED)
            cells = [entry.name, _cell(row, "errors", 1), *(_cell(row, name, 4) for name in MEASURED)]
            lines.append("| " + " | ".join(cells) + " |")
    start = ["", title, "", "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return start + lines if lines else []


def _cell(row: Mapping[str, Any], name: str, digits: int) -> str:
    mean, sd = row[f"{name}_mean"], row[f"{name}_sd"]
    if mean is None:
        return ""
    if sd is None:
        return f"{mean:.{digits}f}".removesuffix(".0")
    return f"{mean:.{digits}f} ± {sd:.{digits}f}"


def trivial_models(study: Study, subset: str) -> Mapping[str, Mapping[str, Any]]:
    """What trivial models reach on the same films, from the first run that they were measured beside."""
    for run in study.runs():
        path = run.results(subset).with_name(f"{run.config.split}-{subset}-controls.json")
        if path.exists():
            return {k: v for k, v in read_results(path).items() if isinstance(v, Mapping) and "errors" in v}
    return {}


def _draw(path: Path, found: Sequence[Entry], title: str) -> Path:
    """One line an entry: every seed a dot, their mean a bar, beside the spread."""
    names = [entry.name for entry in found]
    figure = Figure(figsize=(3.4 * len(PLOTTED), 1.2 + 0.4 * len(names)), layout="constrained")
    axes = figure.subplots(1, len(PLOTTED), sharey=True)
    for axis, metric in zip(axes, PLOTTED, strict=True):
        for y, entry in enumerate(found):
            values = [v for report in entry.reports if (v := _value(report, metric)) is not None]
            axis.plot(values, [y] * len(values), "o", color=INK, alpha=0.5, markersize=5)
            mean, spread = _spread("", values).values()
            if mean is not None:
                axis.errorbar(mean, y, xerr=spread, fmt="|", color="#222", markersize=12, capsize=3)
        axis.set(xlabel=METRICS[metric], yticks=range(len(names)), ylim=(len(names) - 0.5, -0.5))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticklabels(names)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    return path


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
    write_results(folder / f"comparison-{subset}.json", report)
    (folder / f"comparison-{subset}.md").write_text(as_markdown(report), encoding="utf-8")
    written = [folder / f"comparison-{subset}.json", folder / f"comparison-{subset}.md"]
    told = [f"Compared film by film (seed {seed}), all pairs in comparison-{subset}.md:", ""]
    if len(report["labels"]) == 1:
        (found,) = report["labels"].values()
        return [
            *told,
            f"By AUROC (> told apart, ~ within noise): {found.get('ranking', found.get('note'))}",
            "",
        ], written
    reports = {entry.name: entry.reports[0]["labels"] for entry in peers}
    written.append(_draw_labels(folder / f"labels-{subset}.png", reports, subset))
    return [*told, *_label_table(reports, report), ""], written


def _label_table(reports: Mapping[str, Mapping[str, Any]], compared: Mapping[str, Any]) -> list[str]:
    """AUROC of every label and model with 95 % intervals; of two models also their paired difference."""
    pair = len(reports) == 2
    heads = ["label", "films", "positives", *reports] + (["difference", ""] if pair else [])
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for label, found in compared["labels"].items():
        values = [_interval(own[label]["metrics"]["auroc"]) for own in reports.values()]
        cells = [label, str(found["n"]), str(found["positives"]), *values]
        if pair and found["pairs"]:
            difference = found["pairs"][0]["difference"]["auroc"]
            cells += [_interval(difference), "within noise" if is_noise(difference) else "told apart"]
        elif pair:
            cells += ["", found["note"]]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _interval(found: Mapping[str, float] | None) -> str:
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})" if found else ""


def _draw_labels(path: Path, reports: Mapping[str, Mapping[str, Any]], subset: str) -> Path:
    """AUROC of every label with its 95 % interval, the models side by side."""
    labels = list(next(iter(reports.values())))
    figure = Figure(figsize=(7, 1.2 + 0.35 * len(labels)), layout="constrained")
    axis = figure.subplots()
    for number, (name, own) in enumerate(reports.items()):
        shift = 0.5 * (number + 0.5) / len(reports) - 0.25
        shown = [
            (y, own[label]["metrics"]["auroc"]) for y, label in enumerate(labels) if own[label]["metrics"]["auroc"]
        ]
        x = np.array([found["value"] for _, found in shown])
        reach = [
            [found["value"] - found["low"] for _, found in shown],
            [found["high"] - found["value"] for _, found in shown],
        ]
        colour = COLOURS[number % len(COLOURS)]
        axis.errorbar(x, [y + shift for y, _ in shown], xerr=np.maximum(reach, 0), fmt="o", color=colour, label=name)
    axis.axvline(0.5, color="#ccc", linewidth=1)
    axis.set(xlabel=f"AUROC, {subset}, 95 % interval", yticks=range(len(labels)), ylim=(len(labels) - 0.5, -0.5))
    axis.set_yticklabels(labels)
    axis.legend(fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    return path
