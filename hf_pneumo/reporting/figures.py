"""Figures of a run and of its results: drawn from the log and the predictions, never from numbers typed in."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from hf_pneumo.evaluation.classification.calibration import reliability
from hf_pneumo.evaluation.classification.metrics import LabelReport
from hf_pneumo.evaluation.classification.report import ClassificationReport
from hf_pneumo.evaluation.classification.selective import SelectiveReport
from hf_pneumo.evaluation.predictions import Predictions

DPI, SIDE = 110, 4.2
INK = "#1f6f8b"


Confusion = Sequence[Sequence[int]]


def draw_report(folder: Path, predictions: Predictions, report: ClassificationReport) -> list[Path]:
    """The figures of predictions and of their report: those of the only score, or those of all labels together."""
    title, drawn = f"{report.protocol} {report.subset}, n = {report.n}", []
    if report.selective:
        drawn.append(draw_risk_coverage(folder / "risk-coverage.png", report.selective, title))
    if len(report.labels) > 1:
        return drawn + draw_labels(folder, predictions.scores, predictions.targets, report.labels, title)
    ((name, own),) = report.labels.items()
    if own.note:
        return drawn
    score, target = predictions.scores[:, 0], predictions.targets[:, 0]
    return drawn + draw_results(folder, score, target, own.threshold, own.confusion, f"{name}, {title}")


def draw_results(
    folder: Path, probability: np.ndarray, target: np.ndarray, threshold: float, confusion: Confusion, title: str
) -> list[Path]:
    """Write roc.png, pr.png, reliability.png and confusion.png of one score to ``folder``; returns their paths."""
    known = ~np.isnan(target)
    p, y = probability[known], target[known]
    if len(np.unique(y)) < 2:
        return []
    return [
        _roc(folder / "roc.png", p, y, threshold, title),
        _precision_recall(folder / "pr.png", p, y, title),
        _reliability(folder / "reliability.png", p, y, title),
        _confusion(folder / "confusion.png", confusion, title),
    ]


def draw_labels(
    folder: Path, probability: np.ndarray, target: np.ndarray, reports: Mapping[str, LabelReport], title: str
) -> list[Path]:
    """The same four figures of several scores (N, S), each with all labels that have figures; returns their paths.

    ``reports``: each score's report by its name, in the order of the columns.
    """
    known = ~np.isnan(target)
    kept = {name: i for i, (name, report) in enumerate(reports.items()) if not report.note}
    if not kept:
        return []
    films = {name: (probability[known[:, i], i], target[known[:, i], i]) for name, i in kept.items()}
    figures = {
        "roc": _overlaid(title, films, reports, "auroc", _roc_line, "1 - specificity", "sensitivity"),
        "pr": _overlaid(title, films, reports, "auprc", _precision_recall_line, "recall", "precision"),
        "reliability": _panels(title, films, lambda axis, name: _reliability_dots(axis, *films[name])),
        "confusion": _panels(
            title,
            films,
            lambda axis, name: _confusion_counts(axis, reports[name].confusion, 9, ("absent", "present")),
        ),
    }
    return [write_figure(figure, folder / f"{name}.png") for name, figure in figures.items()]


def draw_risk_coverage(path: Path, reports: Mapping[str, SelectiveReport], title: str) -> Path:
    """Risk by coverage of each score, with the points that the abstain bands give."""
    figure, axis = _canvas(title)
    for (name, report), colour in zip(reports.items(), itertools.cycle((INK, *matplotlib.colormaps["tab20"].colors))):
        curve, answered = report.curve, report.answered
        axis.plot([at.coverage for at in curve], [at.risk for at in curve], color=colour, label=name)
        if answered.n:
            axis.plot(answered.n / report.n, answered.errors / answered.n, "o", color="#c0392b")
    axis.plot([], [], "o", color="#c0392b", label="abstain band")
    axis.set(xlabel="share of films answered", ylabel="errors among them", xlim=(0, 1.01))
    axis.set_ylim(bottom=0)
    axis.legend(loc="upper left", fontsize=8 if len(reports) == 1 else 6)
    return write_figure(figure, path)


def draw_training(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Loss and validation AUROC by epoch, from the rows of a training log."""
    epochs = [row for row in rows if "val_auroc" in row]
    figure, axes = _canvas("training", width=2)
    left, right = axes
    x = [row["epoch"] + 1 for row in epochs]
    left.plot(x, [row["train_loss"] for row in epochs], "o-", label="train (augmented)", color="#999")
    left.plot(x, [row["val_loss"] for row in epochs], "o-", label="val", color=INK)
    left.set(xlabel="epoch", ylabel="loss")
    left.legend()
    right.plot(x, [row["val_auroc"] for row in epochs], "o-", color=INK)
    right.set(xlabel="epoch", ylabel="val AUROC")
    return write_figure(figure, path)


def _canvas(title: str, width: int = 1) -> tuple[Figure, Any]:
    figure = Figure(figsize=(SIDE * width, SIDE), layout="constrained")
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots(1, width)
    for axis in np.atleast_1d(axes):
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def write_figure(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "hf_pneumo"}):  # the same figure is the same file
        figure.savefig(path, dpi=DPI, metadata={"Software": None})
    return path


def _overlaid(
    title: str,
    films: Mapping[str, tuple[np.ndarray, np.ndarray]],
    reports: Mapping[str, LabelReport],
    metric: str,
    line: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    x: str,
    y: str,
) -> Figure:
    """One curve a label, named with its figure, its number of positives, and in a colour of its own."""
    figure, axis = _canvas(title)
    figure.set_size_inches(1.8 * SIDE, SIDE)  # room for the names
    colours = matplotlib.colormaps["tab20"].colors
    for (name, (p, target)), colour in zip(films.items(), itertools.cycle(colours)):
        value = reports[name].value(metric)
        axis.plot(*line(p, target), color=colour, label=f"{name} {value:.2f} (n = {reports[name].positives})")
    axis.set(xlabel=x, ylabel=y, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axis.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8, frameon=False)
    return figure


def _panels(title: str, names: Collection[str], draw: Callable[[Any, str], None]) -> Figure:
    """A small panel for each label, four in a row."""
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(0.6 * SIDE * columns, 0.62 * SIDE * rows), layout="constrained")
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for axis, name in zip(axes, names, strict=False):  # the last row may not be full
        draw(axis, name)
        axis.set_title(name, fontsize=8)
        axis.tick_params(labelsize=7)
        axis.xaxis.label.set_size(7)
        axis.yaxis.label.set_size(7)
    for axis in figure.axes[len(names) :]:
        axis.set_axis_off()
    return figure


def _roc_line(p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return roc_curve(y, p)[:2]


def _precision_recall_line(p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    precision, recall, _ = precision_recall_curve(y, p)
    return recall, precision


def _roc(path: Path, p: np.ndarray, y: np.ndarray, threshold: float, title: str) -> Path:
    figure, axis = _canvas(title)
    axis.plot([0, 1], [0, 1], color="#ccc", linewidth=1)
    axis.plot(*_roc_line(p, y), color=INK)
    axis.plot(
        (p >= threshold)[y == 0].mean(), (p >= threshold)[y == 1].mean(), "o", color="#c0392b", label="operating point"
    )
    axis.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(-0.01, 1), ylim=(0, 1.01))
    axis.legend(loc="lower right")
    return write_figure(figure, path)


def _precision_recall(path: Path, p: np.ndarray, y: np.ndarray, title: str) -> Path:
    figure, axis = _canvas(title)
    axis.axhline(y.mean(), color="#ccc", linewidth=1, label="prevalence")
    axis.plot(*_precision_recall_line(p, y), color=INK)
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.01))
    axis.legend(loc="lower left")
    return write_figure(figure, path)


def _reliability(path: Path, p: np.ndarray, y: np.ndarray, title: str) -> Path:
    figure, axis = _canvas(title)
    _reliability_dots(axis, p, y)
    return write_figure(figure, path)


def _reliability_dots(axis: Any, p: np.ndarray, y: np.ndarray) -> None:
    rows = reliability(p, y)
    axis.plot([0, 1], [0, 1], color="#ccc", linewidth=1)
    sizes = [10 + 200 * row["n"] / len(p) for row in rows]
    axis.scatter([r["predicted"] for r in rows], [r["observed"] for r in rows], s=sizes, color=INK)
    axis.set(xlabel="predicted probability", ylabel="observed frequency", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))


def _confusion(path: Path, confusion: Confusion, title: str) -> Path:
    figure, axis = _canvas(title)
    _confusion_counts(axis, confusion, 14, ("normal", "positive"))
    return write_figure(figure, path)


def _confusion_counts(axis: Any, confusion: Confusion, fontsize: int, words: tuple[str, str]) -> None:
    counts = np.array(confusion)
    axis.imshow(counts / np.maximum(counts.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(counts):
        colour = "white" if count / max(counts[i].sum(), 1) > 0.5 else "black"
        axis.text(j, i, str(count), ha="center", va="center", color=colour, fontsize=fontsize)
    axis.set(xticks=[0, 1], yticks=[0, 1], xlabel="called", ylabel="is")
    axis.set_xticklabels(words)
    axis.set_yticklabels(words)
