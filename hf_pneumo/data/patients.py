"""Who is on a film: patient keys from file names, by the rules of each split protocol.

Kermany et al. 2018 name pneumonia films ``personN_bacteria_M`` or ``personN_virus_M`` and normal ones ``IM-dddd-dddd``
or ``NORMAL2-IM-dddd-dddd``. 979 numbers occur as bacteria and as virus: they are different children, so that
``personN`` alone is not a patient.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_PNEUMONIA = re.compile(r"person(\d+)_(bacteria|virus)_", re.IGNORECASE)
_NORMAL = re.compile(r"((?:NORMAL\d*-)?IM-\d{4})-\d{4}", re.IGNORECASE)
_NORMAL_FILM = re.compile(r"IM-\d{4}-\d{4}", re.IGNORECASE)
_PERSON = re.compile(r"person\d+", re.IGNORECASE)


def aetiology(file_name: str) -> str | None:
    """ "bacteria", "virus" or "normal" as the file name says, None where it says nothing."""
    if match := _PNEUMONIA.match(_stem(file_name)):
        return match[2].lower()
    return "normal" if _NORMAL.match(_stem(file_name)) else None


def strict_patient(file_name: str) -> str | None:
    """(number, aetiology) of a pneumonia film, series number of a normal one; None for other file names."""
    stem = _stem(file_name)
    if match := _PNEUMONIA.match(stem):
        return f"PERSON{match[1]}-{match[2].upper()}"
    match = _NORMAL.match(stem)
    return match[1].upper() if match else None


def paper_patient(file_name: str) -> str:
    """The key of arXiv 2511.00456: ``personN``; else the leading ``IM-dddd-dddd``, else the first three tokens."""
    stem = _stem(file_name)
    if match := _PERSON.match(stem) or _NORMAL_FILM.match(stem):
        return match[0].upper()
    return "-".join(stem.split("-")[:3]).upper()


def _stem(file_name: str) -> str:
    return PurePosixPath(file_name.replace("\\", "/")).name.partition(".")[0]
