"""Values of DICOM elements, read without trust: a malformed element is an absent one."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset


def values_of(dataset: Dataset, keyword: str | int) -> list:
    """All values of an element, () when it is absent or cannot be parsed."""
    try:
        value = dataset[keyword].value if keyword in dataset else None
    except Exception:  # pydicom converts lazily and raises many kinds on malformed values
        return []
    if value is None or value == "":
        return []
    several = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    return list(value) if several else [value]


def reals(dataset: Dataset, keyword: str | int) -> list[float]:
    """All values of an element as finite floats; [] when one of them is none."""
    try:
        numbers = [float(value) for value in values_of(dataset, keyword)]
    except Exception:  # as in `values_of`
        return []
    return numbers if np.isfinite(numbers).all() else []


def real(dataset: Dataset, keyword: str | int) -> float | None:
    """The first value of an element as a finite float, or None when it is absent or no number."""
    try:
        number = float(values_of(dataset, keyword)[0])
    except Exception:  # as in `values_of`
        return None
    return number if np.isfinite(number) else None


def integer(dataset: Dataset, keyword: str | int) -> int | None:
    """The first value of an element as an integer, or None when it is absent or no number."""
    number = real(dataset, keyword)
    return None if number is None else int(number)


def words(dataset: Dataset, keyword: str) -> list[str]:
    """The code strings of an element, in capitals; also where the device wrote its backslash as another value."""
    joined = "\\".join(str(value) for value in values_of(dataset, keyword))
    return [part.strip().upper() for part in re.split(r"[\\/]", joined.replace("\0", ""))]


def word(dataset: Dataset, keyword: str) -> str:
    """The first code string of an element in capitals, '' when absent or malformed."""
    return words(dataset, keyword)[0]
