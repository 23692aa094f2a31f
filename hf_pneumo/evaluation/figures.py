"""Figures of a run and of its results: drawn from the log and the predictions, never from numbers typed in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from hf_pneumo.evaluation.calibration import reliability

matplotlib.rcParams["svg.hashsalt"] = "hf_pneumo"  # the same figure is the same file
DPI, SIDE = 110, 4.2
INK = "#1f6f8b"


def draw_results(
    folder: Path, probability: np.ndarray, target: np.ndarray, threshold: float, confusion: list[list[int]], title: str
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
    return _write(figure, path)


def _canvas(title: str, width: int = 1) -> tuple[Figure, Any]:
    figure = Figure(figsize=(SIDE * width, SIDE), layout="constrained")
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots(1, width)
    for axis in np.atleast_1d(axes):
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _write(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    return path


def _roc(path: Path, p: np.ndarray, y: np.ndarray, threshold: float, title: str) -> Path:
    figure, axis = _canvas(title)
    false, true, _ = roc_curve(y, p)
    axis.plot([0, 1], [0, 1], color="#ccc", linewidth=1)
    axis.plot(false, true, color=INK)
    axis.plot(
        (p >= threshold)[y == 0].mean(), (p >= threshold)[y == 1].mean(), "o", color="#c0392b", label="operating point"
    )
    axis.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(-0.01, 1), ylim=(0, 1.01))
    axis.legend(loc="lower right")
    return _write(figure, path)


def _precision_recall(path: Path, p: np.ndarray, y: np.ndarray, title: str) -> Path:
    figure, axis = _canvas(title)
    precision, recall, _ = precision_recall_curve(y, p)
    axis.axhline(y.mean(), color="#ccc", linewidth=1, label="prevalence")
    axis.plot(recall, precision, color=INK)
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.01))
    axis.legend(loc="lower left")
    return _write(figure, path)


def _reliability(path: Path, p: np.ndarray, y: np.ndarray, title: str) -> Path:
    figure, axis = _canvas(title)
    rows = reliability(p, y)
    axis.plot([0, 1], [0, 1], color="#ccc", linewidth=1)
    sizes = [10 + 200 * row["n"] / len(p) for row in rows]
    axis.scatter([r["predicted"] for r in rows], [r["observed"] for r in rows], s=sizes, color=INK)
    axis.set(xlabel="predicted probability", ylabel="observed frequency", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    return _write(figure, path)


def _confusion(path: Path, confusion: list[list[int]], title: str) -> Path:
    figure, axis = _canvas(title)
    counts = np.array(confusion)
    axis.imshow(counts / np.maximum(counts.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(counts):
        share = count / max(counts[i].sum(), 1)
        axis.text(j, i, str(count), ha="center", va="center", color="white" if share > 0.5 else "black", fontsize=14)
    axis.set(xticks=[0, 1], yticks=[0, 1], xlabel="called", ylabel="is")
    axis.set_xticklabels(["normal", "positive"])
    axis.set_yticklabels(["normal", "positive"])
    return _write(figure, path)
