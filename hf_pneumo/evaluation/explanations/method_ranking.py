"""What a checkpoint's own measurements say of its explanation methods: which to show first, which not to offer.

Read from results/localization-*.json (`boxed_films`) and results/faithfulness-*.json (`trust`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_pneumo.evaluation.explanations.variants import PLAIN, titled
from hf_pneumo.evaluation.results import read_results

logger = logging.getLogger(__name__)

FALLBACK = "gradcam"
UNMEASURED = "How well these maps point was never measured for this checkpoint: they show what moved the score."


@dataclass(frozen=True)
class Evidence:
    """`pointing`: by films, then by method and variant (as `variants.titled` names them), the share of films whose map
    points into a box; `centre`: by films, what the film's mere centre reaches. `failing`: methods that show the same
    map of a network with random weights. `unclear`: by films, the maps whose lead over the centre, film by film, has a
    95 % interval that holds zero."""

    pointing: dict[str, dict[str, float]]
    centre: dict[str, float]
    failing: frozenset[str] = frozenset()
    unclear: dict[str, frozenset[str]] = field(default_factory=dict)

    def margin(self, method: str, variant: str = PLAIN) -> float | None:
        """By how much its maps point better than the centre on the films where they do worst; None if unmeasured."""
        name = titled(method, variant)
        margins = [row[name] - self.centre[films] for films, row in self.pointing.items() if name in row]
        return min(margins) if margins else None

    def default(self, offered: Collection[str], variants: Collection[str] = (PLAIN,)) -> tuple[str, str]:
        """Method and variant to show first: of those `offered`, what points best, if it beats the centre on all films.

        Else plain Grad-CAM: `caution` then says that it locates nothing, or that nothing was measured.
        """
        margins = {(name, variant): self.margin(name, variant) for variant in variants for name in offered}
        above = {pair: margin for pair, margin in margins.items() if margin is not None and margin > 0}
        return max(above, key=lambda pair: above[pair]) if above else (FALLBACK, PLAIN)

    def caution(self, method: str, variant: str = PLAIN) -> str:
        """What is to stand beside such a map; empty where it points clearly better than the centre."""
        margin, name = self.margin(method, variant), titled(method, variant)
        if margin is None:
            return UNMEASURED if not self.pointing else "How well such maps point was not measured for this checkpoint."
        above = margin > 0
        telling = [f for f, row in self.pointing.items() if name in (self.unclear.get(f, ()) if above else row)]
        if not telling:
            return ""
        films = min(telling, key=lambda f: self.pointing[f][name] - self.centre[f])
        return (
            f"Not {'clearly ' if above else ''}shown to locate: on the boxed films of {films} the map's maximum hits a "
            f"box in {self.pointing[films][name]:.0%} of films, the film's mere centre in {self.centre[films]:.0%}"
            f"{', a lead whose 95 % interval holds zero' if above else ''}. It shows what moved the score, and no "
            "outline of disease."
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
                rows = {
                    titled(name, variant): row
                    for variant, entries in {PLAIN: report["methods"], **report.get("variants", {})}.items()
                    for name, row in entries.items()
                }
                pointing[films] = {name: _value(row) for name, row in rows.items()}
                unclear[films] = frozenset(name for name, row in rows.items() if _in_doubt(row))
            elif kind == "faithfulness":
                checked = read_results(path).get("randomisation", {})
                failing |= {name for name, row in checked.items() if not row["passes"]}
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("%s is damaged and left out (%s: %s); measure it again", path, type(error).__name__, error)
    return Evidence(pointing, centre, frozenset(failing), unclear)


def _value(row: dict[str, Any]) -> float:
    return float(row["pointing"]["value"])


def _in_doubt(row: dict[str, Any]) -> bool:
    """Whether the lead over the centre may be chance; not known, and so not said, where it was not measured."""
    over = row.get("over", {}).get("centre")
    return over is not None and over["pointing"]["low"] <= 0
