"""What a checkpoint's own measurements say of its explanation methods: which to show first, which not to offer.

Read from results/localization-*.json (`boxed_films`) and results/faithfulness-*.json (`trust`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_pneumo.evaluation.results import read_results

logger = logging.getLogger(__name__)

FALLBACK = "gradcam"
UNMEASURED = "How well these maps point was never measured for this checkpoint: they show what moved the score."


@dataclass(frozen=True)
class Evidence:
    """`pointing`: by films, then by method, the share of films whose map points into a box; `centre`: by films, what
    the film's mere centre reaches. `failing`: methods that show the same map of a network with random weights.
    `unclear`: by films, the methods whose 95 % interval overlaps the centre's."""

    pointing: dict[str, dict[str, float]]
    centre: dict[str, float]
    failing: frozenset[str] = frozenset()
    unclear: dict[str, frozenset[str]] = field(default_factory=dict)

    def margin(self, method: str) -> float | None:
        """By how much the method points better than the centre on the films where it does worst; None if unmeasured."""
        margins = [row[method] - self.centre[films] for films, row in self.pointing.items() if method in row]
        return min(margins) if margins else None

    def default(self, offered: Collection[str]) -> str:
        """The method to show first: the one of `offered` that points best, if it beats the centre on all films.

        Else Grad-CAM, the plainest: `caution` then says that it locates nothing, or that nothing was measured.
        """
        above = {name: margin for name in offered if (margin := self.margin(name)) is not None and margin > 0}
        return max(above, key=lambda name: above[name]) if above else FALLBACK

    def caution(self, method: str) -> str:
        """What is to stand beside the method's map; empty where it points clearly better than the centre."""
        margin = self.margin(method)
        if margin is None:
            return UNMEASURED if not self.pointing else "This method's pointing was not measured for this checkpoint."
        above = margin > 0
        telling = [f for f, row in self.pointing.items() if method in (self.unclear.get(f, ()) if above else row)]
        if not telling:
            return ""
        films = min(telling, key=lambda f: self.pointing[f][method] - self.centre[f])
        return (
            f"Not {'clearly ' if above else ''}shown to locate: on the boxed films of {films} the map's maximum hits a "
            f"box in {self.pointing[films][method]:.0%} of films, the film's mere centre in {self.centre[films]:.0%}"
            f"{', and the 95 % intervals overlap' if above else ''}. It shows what moved the score, and no outline of "
            "disease."
        )


def read_evidence(folder: Path) -> Evidence:
    """The evidence in a checkpoint folder; empty where nothing was measured. A damaged file is logged and left out."""
    pointing, centre, failing, unclear = {}, {}, set(), {}
    for path in sorted((folder / "results").glob("*-*.json")):
        kind, _, films = path.stem.partition("-")
        try:
            if kind == "localization":
                report = read_results(path)
                middle = report["baselines"]["centre"]
                centre[films] = _value(middle)
                pointing[films] = {name: _value(row) for name, row in report["methods"].items()}
                unclear[films] = frozenset(name for name, row in report["methods"].items() if _overlap(row, middle))
            elif kind == "faithfulness":
                checked = read_results(path).get("randomisation", {})
                failing |= {name for name, row in checked.items() if not row["passes"]}
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("%s is damaged and left out (%s: %s); measure it again", path, type(error).__name__, error)
    return Evidence(pointing, centre, frozenset(failing), unclear)


def _value(row: dict[str, Any]) -> float:
    return float(row["pointing"]["value"])


def _overlap(row: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether the 95 % intervals of two pointing games overlap; not known, and so not said, where one has none."""
    ends = [own["pointing"].get(end) for own in (row, other) for end in ("low", "high")]
    return None not in ends and ends[0] <= ends[3] and ends[2] <= ends[1]
