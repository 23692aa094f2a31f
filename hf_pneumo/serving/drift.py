"""Whether an archive's films are scored as the films were that a checkpoint's thresholds were fitted on.

The thresholds are worth what they were measured to be only on films like those. The distance between the two
distributions of a label's probability says how unlike they are, whatever the reason: other patients, another device,
another mix of findings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from hf_pneumo.models.folder import CheckpointFolder

BINS = 1000  # of [0, 1]: the distance is exact to a thousandth, and ten million films take no more memory than ten
SHARES = 10  # parts of the validation films, of equal size, whose shares in the archive are compared
LEAST = 1e-4  # a share below it counts as this much: an empty one would be infinitely far away
NOTABLE = 0.25  # stability index from which on two populations are held to differ (Siddiqi 2006)


@dataclass(frozen=True)
class Drift:
    """Of one label: how far ``films`` of an archive lie from ``validation`` films.

    ``distance``: the largest difference between the two cumulative distributions of the probability (Kolmogorov and
    Smirnov), in [0, 1]. ``stability``: the population stability index, from 0; above .25 the two are held to differ.
    """

    label: str
    films: int
    validation: int
    distance: float
    stability: float


def drift_of(shards: Iterable[Path], checkpoint: CheckpointFolder) -> tuple[Drift, ...]:
    """The drift of every label over the films that were judged; () without such or without validation films."""
    names = checkpoint.config.labels.names
    before = _validation(checkpoint)
    now = sum((_counts(shard, names) for shard in shards), start=np.zeros((len(names), BINS), dtype=np.int64))
    if before is None or not now.sum():
        return ()
    return tuple(_drift(*one) for one in zip(names, before, now, strict=True))


def _validation(checkpoint: CheckpointFolder) -> np.ndarray | None:
    """Counts (K, BINS) of the probabilities of validation films; None where the checkpoint holds none."""
    config = checkpoint.config
    path = checkpoint.path / "predictions" / f"{config.operating_point.fitted_on.replace('/', '-')}.parquet"
    if not path.is_file():
        return None
    logits = np.array(pq.read_table(path, columns=["logits"])["logits"].to_pylist())
    return _binned(config.labels.probabilities(logits, config.operating_point.temperature).T)


def _counts(shard: Path, names: Sequence[str]) -> np.ndarray:
    table = pq.read_table(shard, columns=[f"probability {name}" for name in names]).drop_null()
    return _binned(np.stack([column.to_numpy() for column in table.columns]))


def _binned(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities (K, N) as counts (K, BINS)."""
    places = np.clip(probabilities * BINS, 0, BINS - 1).astype(np.intp)
    return np.stack([np.bincount(own, minlength=BINS) for own in places])


def _drift(label: str, before: np.ndarray, now: np.ndarray) -> Drift:
    then, here = (np.cumsum(counts) / counts.sum() for counts in (before, now))
    edges = np.searchsorted(then, np.arange(1, SHARES) / SHARES)
    shares = [np.maximum(np.diff(own[edges], prepend=0.0, append=1.0), LEAST) for own in (then, here)]
    stability = ((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum()
    return Drift(label, int(now.sum()), int(before.sum()), float(np.abs(then - here).max()), float(stability))


def sentence(drift: Drift) -> str:
    """What a reader is told of one label's drift."""
    said = f"drift of {drift.label}: distance {drift.distance:.2f}, stability index {drift.stability:.2f}"
    beside = f"{said} ({drift.films} films beside {drift.validation} of validation)"
    unlike = "; these films are unlike those that the threshold was fitted on: measure it on some of them"
    return beside + unlike if drift.stability > NOTABLE else beside
