"""Models side by side: their figures over seeds and by label, before and after a crop, and their heatmaps of a film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hf_pneumo.evaluation.classification.metrics import LabelReport
from hf_pneumo.evaluation.classification.report import ClassificationReport
from hf_pneumo.imaging.lungs import Box
from hf_pneumo.reporting.figures import INK, SIDE, write_figure

COLOURS = (INK, "#c0392b", "#7f8c8d", "#8e44ad")

# Our metric and what it is called where normal films are the point.
BARS = {"specificity": "recall of normal films", "accuracy": "accuracy", "auroc": "AUROC"}


@dataclass(frozen=True, eq=False)
class CropView:
    """One checkpoint's look at a film: heatmap float (H, W) in [0, 1], score in [0, 1], the part it was shown."""

    heatmap: np.ndarray
    score: float
    box: Box


def draw_before_after(path: Path, reports: Mapping[str, ClassificationReport], title: str) -> Path:
    """A bar for each metric of BARS and each of ``reports`` (results files by name), with its 95 % interval.

    Raises ValueError when a report lacks one of the metrics.
    """
    figure = Figure(figsize=(SIDE * 1.6, SIDE), layout="constrained")
    axis = figure.subplots()
    width = 0.8 / len(reports)
    for i, (name, report) in enumerate(reports.items()):
        estimates = [one for metric in BARS if (one := report.metrics.get(metric))]
        if len(estimates) < len(BARS):
            missing = next(metric for metric in BARS if not report.metrics.get(metric))
            raise ValueError(f"`reports` {name!r} has no {missing}; give results of films of both classes")
        values = np.array([one.value for one in estimates])
        ends = np.array([one.ends for one in estimates])
        at = np.arange(len(BARS)) + (i - (len(reports) - 1) / 2) * width
        whiskers = np.abs(ends.T - values)
        bars = axis.bar(at, values, width * 0.92, yerr=whiskers, capsize=3, label=name, color=f"C{i}", ecolor="#444")
        axis.bar_label(bars, fmt="%.3f", fontsize=7, label_type="center", color="white")
    axis.set(xticks=range(len(BARS)), ylim=(0, 1.02), title=title)
    axis.set_xticklabels(BARS.values())
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(reports), fontsize=8, frameon=False)
    return write_figure(figure, path)


def draw_seeds(path: Path, values: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> Path:
    """For each metric (a heading) and each model the figure of every seed: a dot each, their mean a bar, and spread."""
    names = list(next(iter(values.values())))
    figure = Figure(figsize=(3.4 * len(values), 1.2 + 0.4 * len(names)), layout="constrained")
    axes = figure.subplots(1, len(values), sharey=True, squeeze=False)[0]
    for axis, (heading, by_model) in zip(axes, values.items(), strict=True):
        for y, own in enumerate(by_model.values()):
            axis.plot(own, [y] * len(own), "o", color=INK, alpha=0.5, markersize=5)
            if len(own):
                spread = np.std(own, ddof=1) if len(own) > 1 else None
                axis.errorbar(np.mean(own), y, xerr=spread, fmt="|", color="#222", markersize=12, capsize=3)
        axis.set(xlabel=heading, yticks=range(len(names)), ylim=(len(names) - 0.5, -0.5))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticklabels(names)
    figure.suptitle(title, fontsize=10)
    return write_figure(figure, path)


def draw_label_aurocs(path: Path, reports: Mapping[str, Mapping[str, LabelReport]], title: str) -> Path:
    """AUROC of every label with its 95 % interval, the models side by side."""
    labels = list(next(iter(reports.values())))
    figure = Figure(figsize=(7, 1.2 + 0.35 * len(labels)), layout="constrained")
    axis = figure.subplots()
    for number, (name, report) in enumerate(reports.items()):
        shift = 0.5 * (number + 0.5) / len(reports) - 0.25
        rows = [(y, auroc) for y, label in enumerate(labels) if (auroc := report[label].metrics["auroc"])]
        x = np.array([auroc.value for _, auroc in rows])
        reach = np.abs(np.array([auroc.ends for _, auroc in rows]).reshape(-1, 2).T - x)
        colour = COLOURS[number % len(COLOURS)]
        axis.errorbar(x, [y + shift for y, _ in rows], xerr=np.maximum(reach, 0), fmt="o", color=colour, label=name)
    axis.axvline(0.5, color="#ccc", linewidth=1)
    axis.set(xlabel=f"AUROC, {title}, 95 % interval", yticks=range(len(labels)), ylim=(len(labels) - 0.5, -0.5))
    axis.set_yticklabels(labels)
    axis.legend(fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    return write_figure(figure, path)


def draw_views(path: Path, film: np.ndarray, views: Mapping[str, CropView]) -> Path:
    """The film (H, W) alone, then each of ``views`` by its checkpoint's name over it, with its crop outlined."""
    figure = Figure(figsize=(SIDE * 0.7 * (len(views) + 1), SIDE * 0.8), layout="constrained")
    axes = figure.subplots(1, len(views) + 1)
    height, width = film.shape
    axes[0].set_title("film", fontsize=9)
    for axis in axes:
        axis.imshow(film, cmap="gray")
        axis.set_axis_off()
    for axis, (name, view) in zip(axes[1:], views.items(), strict=True):
        axis.imshow(view.heatmap, cmap="inferno", alpha=0.6 * view.heatmap, vmin=0, vmax=1)
        top, bottom, left, right = view.box
        corner, sides = (left * width, top * height), ((right - left) * width, (bottom - top) * height)
        axis.add_patch(Rectangle(corner, *sides, fill=False, edgecolor="#5dd39e", linewidth=1.5))
        axis.set_title(f"{name}: {view.score:.2f}", fontsize=9)
    return write_figure(figure, path)
