"""What every collection of X-rays looks like, whatever it was read from."""

from __future__ import annotations

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
    "test": "test",
}
EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".dcm", ".dicom")


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
