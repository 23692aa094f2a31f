"""Before and after a crop: the figures of several checkpoints side by side, and their heatmaps of the same film."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hf_pneumo.imaging.lungs import Box
from hf_pneumo.reporting.figures import DPI, SIDE

# Our metric and what it is called where normal films are the point.
BARS = {"specificity": "recall of normal films", "accuracy": "accuracy", "auroc": "AUROC"}


@dataclass(frozen=True, eq=False)
class CropView:
    """One checkpoint's look at a film: heatmap float (H, W) in [0, 1], score in [0, 1], the part it was shown."""

    heatmap: np.ndarray
    score: float
    box: Box


def draw_before_after(path: Path, reports: Mapping[str, Mapping[str, Any]], title: str) -> Path:
    """A bar for each metric of BARS and each of ``reports`` (results files by name), with its 95 % interval.

    Raises ValueError when a report lacks one of the metrics.
    """
    figure = Figure(figsize=(SIDE * 1.6, SIDE), layout="constrained")
    axis = figure.subplots()
    width = 0.8 / len(reports)
    for i, (name, report) in enumerate(reports.items()):
        if missing := [metric for metric in BARS if not report["metrics"].get(metric)]:
            raise ValueError(f"`reports` {name!r} has no {missing[0]}; give results of films of both classes")
        found = [report["metrics"][metric] for metric in BARS]
        values = np.array([one["value"] for one in found])
        ends = np.array([[one["low"], one["high"]] if one["low"] is not None else [one["value"]] * 2 for one in found])
        at = np.arange(len(BARS)) + (i - (len(reports) - 1) / 2) * width
        whiskers = np.abs(ends.T - values)
        bars = axis.bar(at, values, width * 0.92, yerr=whiskers, capsize=3, label=name, color=f"C{i}", ecolor="#444")
        axis.bar_label(bars, fmt="%.3f", fontsize=7, label_type="center", color="white")
    axis.set(xticks=range(len(BARS)), ylim=(0, 1.02), title=title)
    axis.set_xticklabels(BARS.values())
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(reports), fontsize=8, frameon=False)
    return _write(figure, path)


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
    return _write(figure, path)


def _write(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    return path
