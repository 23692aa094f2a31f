"""Several checkpoints and methods on one film: the maps, side by side, and how far they agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

import numpy as np
from model_registry import Desk
from PIL import Image

from hf_pneumo.explain.explanation import ZeroGradientError
from hf_pneumo.explain.registry import methods
from hf_pneumo.imaging.reader import Xray
from hf_pneumo.serving.outcome import Finding
from hf_pneumo.serving.predictor import DEFAULT

STORED = 384  # longer side of the maps that are held: a grid of full-size ones would fill the memory
COMPARED = 128  # longer side of the maps whose ranks are compared: finer than any class activation map


@dataclass(frozen=True, eq=False)
class Cell:
    """One checkpoint's map by one method; ``finding`` None where the method does not apply, as ``why`` says."""

    model: str
    method: str
    finding: Finding | None
    why: str = ""

    @property
    def title(self) -> str:
        """Of the method."""
        return title_of(self.method)

    @property
    def is_empty(self) -> bool:
        """Whether it shows no map."""
        return self.finding is None or self.finding.explanation.constant


@dataclass(frozen=True)
class Comparison:
    """The cells that are done, by (model, method)."""

    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)

    def agreement(self, model: str) -> dict[str, dict[str, float]]:
        """Rank correlations in [-1, 1] of each two of the model's maps, by method's title; empty maps have none."""
        return _agreement({c.title: _small(c) for c in self.cells.values() if c.model == model and not c.is_empty})

    def between_models(self, method: str) -> float | None:
        """The mean rank correlation of the method's maps of each two models; None for fewer than two maps."""
        found = _agreement({c.model: _small(c) for c in self.cells.values() if c.method == method and not c.is_empty})
        return mean_of_pairs(found)


def compare(
    film: Xray, desks: Mapping[str, Desk], names: Sequence[str], progress: Callable[[str, str, float], None]
) -> Iterator[Cell]:
    """Every one of ``desks``, by the model's name, explains ``film`` by every method of ``names``, cell by cell.

    ``progress`` is told the model, the method's title and the share of all work done, in [0, 1], after every step; what
    it raises ends the work.
    """
    total = len(desks) * len(names)
    for row, (model, desk) in enumerate(desks.items()):
        for column, name in enumerate(names):
            done, title = row * len(names) + column, title_of(name)

            def step(share: float, model: str = model, title: str = title, done: int = done) -> None:
                progress(model, title, (done + share) / total)

            step(0.0)
            yield _cell(film, model, desk, name, step)


def _cell(film: Xray, model: str, desk: Desk, name: str, progress: Callable[[float], None]) -> Cell:
    if name not in (DEFAULT, *desk.methods):
        return Cell(model, name, None, "does not suit this network")
    try:
        finding = desk.predictor.predict(film, method=name, judge_anyway=True, progress=progress)
    except ZeroGradientError:
        return Cell(model, name, None, "has no gradient here")
    small = Image.fromarray(finding.explanation.heatmap)
    small.thumbnail((STORED, STORED), Image.Resampling.BOX)
    return Cell(model, name, replace(finding, explanation=replace(finding.explanation, heatmap=np.asarray(small))))


def title_of(method: str) -> str:
    """What people call a method; `DEFAULT` is the way that Read takes."""
    return "As in Read" if method == DEFAULT else methods()[method].title


def mean_of_pairs(table: Mapping[str, Mapping[str, float]]) -> float | None:
    """The mean over each two names of a symmetric table; None for fewer than two."""
    names = list(table)
    pairs = [table[a][b] for i, a in enumerate(names) for b in names[i + 1 :]]
    return fmean(pairs) if pairs else None


def _agreement(maps: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    from hf_pneumo.evaluation.explanations.faithfulness import agreement  # with torch

    return agreement(maps)


def _small(cell: Cell) -> np.ndarray:
    small = Image.fromarray(cell.finding.explanation.heatmap)
    small.thumbnail((COMPARED, COMPARED), Image.Resampling.BILINEAR)
    return np.asarray(small)[None]
