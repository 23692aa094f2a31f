"""What a DICOM header says of the film beside its pixels: projection, orientation, pixel shape, burnt-in text."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset

from hf_pneumo.imaging.dicom_elements import reals, values_of, word, words
from hf_pneumo.imaging.xray import Projection

KEYWORDS = """
Modality ViewPosition ViewCodeSequence BodyPartExamined PresentationIntentType PatientOrientation BurnedInAnnotation
PixelAspectRatio PixelSpacing ImagerPixelSpacing NominalScannedPixelSpacing PatientAge
"""

# PS3.3 C.8.11.5: the radiographic modalities. Secondary captures of films are often OT or SC.
_FILM_MODALITIES = {"CR", "DX", "DR", "RG", "XR", "OT", "SC", "RF", "PX", "MG", ""}
_VIEWS = {name: name for name in ("PA", "AP", "LL", "RL", "LLD", "RLD", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO")}
_VIEWS |= {"LAT": "LATERAL", "LATERAL": "LATERAL", "POSTERO_ANTERIOR": "PA", "ANTERO_POSTERIOR": "AP"}
_VIEWS |= {"LEFT_LATERAL": "LL", "RIGHT_LATERAL": "RL", "LLAT": "LL", "RLAT": "RL"}
# Context group 4010, SNOMED CT and the older SNOMED RT codes.
_VIEW_CODES = {"272479007": "PA", "R-10214": "PA", "399348003": "AP", "R-10206": "AP"}
_VIEW_CODES |= {"399173006": "LL", "R-10236": "LL", "399198007": "RL", "R-10232": "RL", "399067008": "LATERAL"}
_DAYS = {"D": 1, "W": 7, "M": 365.25 / 12, "Y": 365.25}  # of an age string, PS3.5 6.2
SIDE_VIEWS = ("LL", "RL", "LATERAL")

# Directions on the patient as (x, y) of a film that hangs as it is read: the left side is on the right, the feet down.
_FRONTAL = {"L": (1, 0), "R": (-1, 0), "F": (0, 1), "H": (0, -1)}
_SQUARE = 0.01  # pixels whose sides differ by less than this share are square: spacings are rounded
_LARGEST_RATIO = 4.0  # of a pixel's sides; beyond that the header is wrong
_TURNS = {1: "it needs a quarter turn clockwise", 2: "it needs half a turn", 3: "it needs a quarter turn anticlockwise"}


def view(dataset: Dataset) -> str | None:
    """PA, AP, LL, LATERAL, ... by ViewPosition, ViewCodeSequence, or an orientation that only laterals have."""
    named = _VIEWS.get(re.sub(r"[ -]", "_", word(dataset, "ViewPosition")))
    if named is None:
        try:
            named = _VIEW_CODES.get(str(values_of(dataset, "ViewCodeSequence")[0].CodeValue))
        except Exception:  # an empty or malformed sequence names no view
            named = None
    return named or ("LATERAL" if _hangs_sideways(_orientation(dataset)) else None)


def age(dataset: Dataset) -> float | None:
    """The patient's age in years by PatientAge ("045Y", "018M", "003W", "010D"); None where it is none of these."""
    found = re.fullmatch(r"(\d{1,3})([DWMY])", word(dataset, "PatientAge"))
    return int(found[1]) * _DAYS[found[2]] / _DAYS["Y"] if found else None


def projection(dataset: Dataset, notes: list[str]) -> Projection:
    """The header's statements as facts, each with a sentence in `notes`."""
    orientation = _orientation(dataset)
    lateral = view(dataset) in SIDE_VIEWS or _hangs_sideways(orientation)
    mirrored, turns = _posture(orientation)
    burned_in = word(dataset, "BurnedInAnnotation") == "YES"
    shown = "\\".join(orientation)  # the letters only: what else stands there may be anything
    if lateral:
        by = f" (PatientOrientation {shown})" if _hangs_sideways(orientation) else ""
        notes.append(f"The header says this is a lateral view, not a frontal one{by}.")
    if mirrored:
        notes.append(f"The header says that the film is mirrored (PatientOrientation {shown}): right is on the right.")
    if turns:
        notes.append(f"The header says that the patient is not upright (PatientOrientation {shown}): {_TURNS[turns]}.")
    if burned_in:
        notes.append("The header says that text is burnt into the picture (BurnedInAnnotation YES).")
    return Projection(lateral, mirrored, turns, burned_in)


def header_notes(dataset: Dataset) -> list[str]:
    """Sentences on a header that speaks of another examination than a plain chest film."""
    notes = []
    modality, part = word(dataset, "Modality"), word(dataset, "BodyPartExamined")
    if modality not in _FILM_MODALITIES and re.fullmatch(r"[A-Z]{2,6}", modality):
        notes.append(f"The header says modality {modality}: this is not a plain radiograph.")
    if part and not re.search("CHEST|THORAX|LUNG", part) and re.fullmatch(r"[A-Z]{3,16}", part):
        notes.append(f"The header says body part {part}, not CHEST.")
    if word(dataset, "PresentationIntentType") == "FOR PROCESSING":
        notes.append("The image is raw detector data (FOR PROCESSING), not the film that is read by a radiologist.")
    return notes


def pixel_ratio(dataset: Dataset, notes: list[str]) -> float:
    """Height of a pixel by its width, 1.0 if square: by the spacings, else PixelAspectRatio (PS3.3 C.7.6.3.1.7)."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"):
        sides = reals(dataset, keyword)  # vertical first, in all four
        if len(sides) != 2 or min(sides) <= 0:
            continue
        ratio = sides[0] / sides[1]
        if not 1 / _LARGEST_RATIO <= ratio <= _LARGEST_RATIO:
            notes.append(f"The header's {keyword} cannot be right and was left out.")
            continue
        return ratio if abs(ratio - 1) > _SQUARE else 1.0
    return 1.0


def _orientation(dataset: Dataset) -> str:
    """The first letters of where rows and columns point to, such as "LF"; "" where they are not two of L R A P H F."""
    letters = "".join(value[:1] for value in words(dataset, "PatientOrientation"))
    return letters if re.fullmatch("[LRAPHF]{2}", letters) else ""


def _hangs_sideways(orientation: str) -> bool:
    """Whether one side of the picture runs from front to back, and the other from head to foot."""
    return bool(re.fullmatch("[AP][HF]|[HF][AP]", orientation))


def _posture(orientation: str) -> tuple[bool, int]:
    """Whether a frontal film is mirrored, and the clockwise quarter turns that put the (unmirrored) patient upright."""
    if not re.fullmatch("[LR][HF]|[HF][LR]", orientation):
        return False, 0
    across, down = _FRONTAL[orientation[0]], _FRONTAL[orientation[1]]
    mirrored = across[0] * down[1] - across[1] * down[0] < 0
    if mirrored:
        across = (-across[0], -across[1])  # where the rows of the film point to once it is mirrored back
    return mirrored, [(1, 0), (0, 1), (-1, 0), (0, -1)].index(across)
