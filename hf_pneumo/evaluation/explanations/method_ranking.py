"""What a checkpoint's own measurements say of its explanation methods: which to show first, which not to offer.

Read from results/localization-*.json (`evaluate_localization`) and results/faithfulness-*.json
(`evaluate_faithfulness`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hf_pneumo.evaluation.explanations.localization import LocalizationReport, MethodMapReport
from hf_pneumo.evaluation.explanations.variants import PLAIN, titled
from hf_pneumo.records import JsonRecord

if TYPE_CHECKING:
    from hf_pneumo.evaluation.explanations.evaluate_faithfulness import FaithfulnessReport

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
    pointing, centre, unclear = {}, {}, {}
    for films, report in _read_all(folder, "localization", LocalizationReport).items():
        if "centre" not in report.baselines:
            logger.warning("localization-%s has no baseline of the centre; it is left out, measure it again", films)
            continue
        rows = {
            titled(name, variant): row
            for variant, entries in {PLAIN: report.methods, **(report.variants or {})}.items()
            for name, row in entries.items()
        }
        centre[films] = report.baselines["centre"].pointing.value
        pointing[films] = {name: row.pointing.value for name, row in rows.items()}
        unclear[films] = frozenset(name for name, row in rows.items() if _in_doubt(row))
    checked = _faithfulness(folder)
    failing = {name for report in checked for name, row in (report.randomisation or {}).items() if not row.passes}
    return Evidence(pointing, centre, frozenset(failing), unclear)


def _faithfulness(folder: Path) -> Collection[FaithfulnessReport]:
    if not any((folder / "results").glob("faithfulness-*.json")):
        return ()
    from hf_pneumo.evaluation.explanations.evaluate_faithfulness import FaithfulnessReport  # which imports torch

    return _read_all(folder, "faithfulness", FaithfulnessReport).values()


_Report = TypeVar("_Report", bound=JsonRecord)


def _read_all(folder: Path, kind: str, report: type[_Report]) -> dict[str, _Report]:
    """The results files <kind>-<films>.json in a checkpoint ``folder`` that can be read, by films."""
    reports = {}
    for path in sorted((folder / "results").glob(f"{kind}-*.json")):
        try:
            reports[path.stem.partition("-")[2]] = report.read(path)
        except ValueError as error:
            logger.warning("%s; it is left out, measure it again", error)
    return reports


def _in_doubt(row: MethodMapReport) -> bool:
    """Whether the lead over the centre may be chance; not known, and so not said, where it was not measured."""
    lead = row.over["centre"]["pointing"] if row.over and "centre" in row.over else None
    return lead is not None and lead.low is not None and lead.low <= 0
