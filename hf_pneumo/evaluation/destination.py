"""Where figures may be written: never into the Hub's cache, and never over the record of other films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hf_pneumo.evaluation.classification.duplicates import shortened
from hf_pneumo.files import read_json
from hf_pneumo.models.checkpoint import Checkpoint
from hf_pneumo.models.hub_download import is_in_hub_cache

NAMED = ("dataset", "protocol", "subset")  # what a results file says of its films


def own_folder(checkpoint: Checkpoint) -> Path:
    """The checkpoint's folder, to be written into; ValueError where that is the Hub's cache, from which others load."""
    if checkpoint.revision is not None or is_in_hub_cache(checkpoint.path):
        raise ValueError(
            f"`output` is missing: {checkpoint.name} lies in the Hub's cache, which must stay as it is; give a folder"
        )
    return checkpoint.path


def check_names(path: Path, about: Mapping[str, Any]) -> None:
    """Raise ValueError where the results file ``path`` names other films than ``about`` does; before any is read."""
    if not path.is_file():
        return
    stored = read_json(path)
    for key in NAMED:
        if key in stored and stored[key] != about[key]:
            raise ValueError(
                f"`output`: {path} holds the results of {key} {stored[key]!r}, not {about[key]!r}; give another "
                "folder, or --dataset_name if these are the same films"
            )


def check_films(path: Path, digests: Sequence[str]) -> None:
    """Raise ValueError where the predictions in ``path`` are of other films, by the ``digests`` of their pixels."""
    if not path.is_file():
        return
    stored = pd.read_parquet(path)
    if "digest" in stored and set(stored["digest"]) != set(shortened(digests)):
        raise ValueError(
            f"`output`: {path} holds predictions of other films ({len(stored)}; these are {len(digests)}); give "
            "another folder, or remove it"
        )
