"""ChestX-ray14's findings and what they say about CheXpert's fourteen observations.

Wang et al. 2017 (arXiv 1705.02315). The two sets of fourteen share seven findings and "No Finding". Four of NIH's are
parts of an observation of CheXpert's, so a positive carries over and a negative only says that this part is absent.
Emphysema, Fibrosis and Hernia have no counterpart. Enlarged Cardiomediastinum, Fracture and Support Devices were never
labelled at NIH: they stay unknown, not absent.
"""

from __future__ import annotations

import numpy as np

from hf_pneumo.data.observations import CHEXPERT_14, NEGATIVE, NO_FINDING, PARENT, POSITIVE

# The same finding under both names.
NIH_SAME: dict[str, str] = {
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Consolidation": "Consolidation",
    "Edema": "Edema",
    "Effusion": "Pleural Effusion",
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
    "No Finding": NO_FINDING,
}
# NIH's finding is a part of CheXpert's observation.
NIH_NARROWER: dict[str, str] = {
    "Infiltration": "Lung Opacity",
    "Mass": "Lung Lesion",
    "Nodule": "Lung Lesion",
    "Pleural_Thickening": "Pleural Other",
}
NIH_WITHOUT_COUNTERPART: tuple[str, ...] = ("Emphysema", "Fibrosis", "Hernia")
NIH_FINDINGS: tuple[str, ...] = tuple(sorted((*NIH_SAME, *NIH_NARROWER, *NIH_WITHOUT_COUNTERPART)))
CHEXPERT_NOT_IN_NIH: tuple[str, ...] = ("Enlarged Cardiomediastinum", "Fracture", "Support Devices")

_TO_CHEXPERT = {**NIH_SAME, **NIH_NARROWER}
_FOLDED = {name.casefold().replace("_", " "): name for name in NIH_FINDINGS}
_OPACITIES = {name for name, parent in PARENT.items() if parent in ("Lung Opacity", "Consolidation")}


def parse_findings(text: str) -> tuple[str, ...]:
    """The parts of "A|B" without blanks around them; empty text gives none."""
    return tuple(part for part in (piece.strip() for piece in text.split("|")) if part)


def nih_labels(findings: tuple[str, ...]) -> np.ndarray:
    """NIH findings of one film to float32 (14,) of 1, 0 and NaN in CheXpert's order.

    Lung Opacity is unknown, not absent, where the film has another opacity (Consolidation, Edema ...) and no
    Infiltration.
    Raises ValueError for a finding NIH does not have.
    """
    unknown = [name for name in findings if name.casefold().replace("_", " ") not in _FOLDED]
    if unknown:
        raise ValueError(f"`findings` holds {', '.join(unknown)}; ChestX-ray14 has {', '.join(NIH_FINDINGS)}.")
    named = {_FOLDED[name.casefold().replace("_", " ")] for name in findings}
    present = {_TO_CHEXPERT[name] for name in named if name in _TO_CHEXPERT}
    values = np.full(len(CHEXPERT_14), NEGATIVE, dtype=np.float32)
    for column, name in enumerate(CHEXPERT_14):
        if name in present:
            values[column] = POSITIVE
        elif name in CHEXPERT_NOT_IN_NIH or (name == "Lung Opacity" and present & _OPACITIES):
            values[column] = np.nan
    return values
