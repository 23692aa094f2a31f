"""Results on distinct films: a film that is there twice counts once, one that was learnt from does not count at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.data.splits import Parts
from hf_pneumo.evaluation.classification.metrics import RESAMPLES
from hf_pneumo.evaluation.results import results
from hf_pneumo.models.checkpoint import OperatingPoint

KEPT = ("n", "patients", "errors", "metrics")
DIGITS = 16  # of a film's digest in the predictions: 64 bits never coincide by chance among films


def shortened(digests: Sequence[str]) -> list[str]:
    """Digests as predictions hold them."""
    return [digest[:DIGITS] for digest in digests]


def identical_to(digests: Sequence[str], parts: Parts, subset: str) -> list[str | None]:
    """For every film of ``subset``: "train" or "val" where a pixel-identical film stands there, too, else None."""
    others = [name for name in ("train", "val") if name != subset]
    known = {digests[row]: name for name in reversed(others) for row in parts[name]}
    return [known.get(digests[row]) for row in parts[subset]]


def distinct(
    frame: pd.DataFrame,
    labels: LabelSet,
    point: OperatingPoint,
    report: Mapping[str, Any],
    *,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Figures of ``frame`` (columns digest and, where known, identical_to) without its duplicates.

    "removed" counts films "repeated" within the frame and those "seen" in train or val. ``report``: the results of all
    films, whose figures stand where nothing had to be removed.
    """
    repeated = frame["digest"].duplicated().to_numpy()
    seen = frame["identical_to"].notna().to_numpy() if "identical_to" in frame else np.zeros(len(frame), bool)
    kept = ~(repeated | seen)
    own = report if kept.all() else results(frame[kept], labels, point, {}, resamples=resamples)
    counts = {"repeated": int((repeated & ~seen).sum()), "seen": int(seen.sum())}
    return {"removed": counts, **{key: own[key] for key in KEPT if key in own}}
