"""What every collection of X-rays looks like, whatever it was read from."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote_to_bytes

from datasets import Features, Image, List, Value

from hf_pneumo.data.labels import LabelSet

SPLITS = ("train", "val", "test")
SPLIT_ALIASES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
# Folders of pictures that lie beside films and are none, as in the COVID-19 Radiography Database's class/masks.
DRAWINGS = frozenset(
    ("mask", "masks", "lung mask", "lung masks", "segmentation", "segmentations", "annotations", "heatmaps")
)


class SourceError(ValueError):
    """A source that is not a collection of X-rays; the message is one sentence with the fix."""


def contract(labels: LabelSet) -> Features:
    """The columns every source has, for the label set ``labels``.

    image: path or bytes, not decoded. label: an index of exclusive labels, else one value a label: 1, 0, -1 where the
    source is uncertain, NaN where it says nothing. patient: equal for films of one person. subgroup: what splits are
    stratified by. view, age (years) and sex ("M", "F"): null where unknown. split: the source's own division ("train",
    "val", "test", or "" where it has none).
    """
    return Features(
        {
            "image": Image(decode=False),
            "label": Value("int64") if labels.exclusive else List(Value("float32")),
            "file_name": Value("string"),
            "patient": Value("string"),
            "subgroup": Value("string"),
            "view": Value("string"),
            "age": Value("int64"),
            "sex": Value("string"),
            "split": Value("string"),
        }
    )


def stored_path(path: Path) -> str:
    """``path`` as the image column holds it: text; where its name is not UTF-8 a file URI, which keeps every byte."""
    try:
        return str(path).encode("utf-8").decode("utf-8")
    except UnicodeEncodeError:
        return path.absolute().as_uri()


def film_path(stored: str) -> str:
    """The path that :func:`stored_path` has stored."""
    prefix = "file:///"
    return os.fsdecode(unquote_to_bytes(stored[len(prefix) - 1 :])) if stored.startswith(prefix) else stored


def film_names(paths: Sequence[str]) -> list[str]:
    """What the films at ``paths`` are called: by their file names, or by their whole paths where others share those."""
    last = [PurePosixPath(path).name for path in paths]
    films = Counter(dict(zip(paths, last, strict=True)).values())  # a path that stands twice is one film
    return [path if films[name] > 1 else name for path, name in zip(paths, last, strict=True)]
