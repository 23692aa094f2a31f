"""Split protocols: which films train, which choose, which measure. All follow from file names and pixels alone.

- ``official``: the source's own test; where its val is too small to choose by (Kermany: 16 films), train and val are
  pooled and a new val is carved out by patient.
- ``paper``: arXiv 2511.00456: everything pooled, patients of each class shuffled by numpy's RandomState(42).
- ``strict``: everything pooled, patient = (number, aetiology) or series, pixel-identical films count as one patient,
  stratified by subgroup.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from datasets import Dataset

from hf_pneumo.data.labels import LabelSet
from hf_pneumo.data.patients import paper_patient
from hf_pneumo.data.schema import SPLITS, SourceError

SEED = 42  # the paper's
TRAIN, VAL = 0.70, 0.15  # shares of patients; the rest is test
CARVED = 0.15  # share of the official training patients that becomes val
SMALLEST_VAL = 0.05  # an own val below this share of train is too small to choose by

Parts = dict[str, np.ndarray]


def split(table: Dataset, protocol: str, labels: LabelSet, digests: Sequence[str]) -> Parts:
    """Row numbers of "train", "val" and "test" of ``table`` (columns of `sources.contract`) under ``protocol``.

    ``digests``: one per row, equal for pixel-identical films. Raises ValueError for an unknown protocol or a part
    that would be empty, SourceError where the source has no split of its own to be official.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"`split` is {protocol!r}; choose one of {', '.join(PROTOCOLS)}")
    parts = PROTOCOLS[protocol](table, labels, digests)
    if empty := [name for name in SPLITS if len(parts[name]) == 0]:
        raise ValueError(
            f"`split` {protocol!r} leaves {' and '.join(empty)} without films; give more films or patients"
        )
    return parts


def merged_patients(patients: Sequence[str], digests: Sequence[str]) -> list[str]:
    """Patient keys after patients who share a pixel-identical film have become one (the first in sorting order).

    Numbers lose their leading zeros: how a table writes a patient must not change who is trained on and who is tested.
    """
    patients = [patient.lstrip("0") or patient if patient.isdigit() else patient for patient in patients]
    leader = {p: p for p in patients}

    def find(p: str) -> str:
        while leader[p] != p:
            leader[p] = leader[leader[p]]
            p = leader[p]
        return p

    first: dict[str, str] = {}
    for patient, digest in zip(patients, digests, strict=True):
        a, b = sorted((find(patient), find(first.setdefault(digest, patient))))
        leader[b] = a
    return [find(p) for p in patients]


def _official(table: Dataset, labels: LabelSet, digests: Sequence[str]) -> Parts:
    own = np.array(table["split"])
    if not {"train", "test"} <= set(own.tolist()):
        raise SourceError("`split` 'official' needs a source with train and test of its own; take 'strict' or 'paper'")
    train, val, test = (np.flatnonzero(own == name) for name in SPLITS)
    if len(val) < SMALLEST_VAL * len(train):
        pool = np.sort(np.concatenate([train, val]))
        patients = np.array(merged_patients(table["patient"], digests))
        drawn = _draw(patients[pool], np.array(table["subgroup"])[pool], [1 - CARVED, CARVED])
        train, val = pool[drawn[0]], pool[drawn[1]]
    # A film that is also in test may not be learnt from; the test itself stays as published.
    tested = {digests[i] for i in test.tolist()}

    def unseen(part: np.ndarray) -> np.ndarray:
        return np.array([i for i in part.tolist() if digests[i] not in tested], dtype=np.int64)

    return {"train": unseen(train), "val": unseen(val), "test": test}


def _paper(table: Dataset, labels: LabelSet, digests: Sequence[str]) -> Parts:
    if not labels.exclusive:
        raise SourceError("`split` 'paper' deals out films of one class each; take 'strict', or 'official' where it is")
    patients = np.array([paper_patient(name) for name in table["file_name"]])
    diseased = labels.score_targets(np.array(table["label"])).max(axis=1) > 0
    generator = np.random.RandomState(SEED)  # one generator, normals first: the paper's order
    parts: dict[str, list[np.ndarray]] = {name: [] for name in SPLITS}
    for of_class in (~diseased, diseased):
        ids = sorted(set(patients[of_class].tolist()))
        generator.shuffle(ids)
        a = round(TRAIN * len(ids))
        b = a + round(VAL * len(ids))
        for name, chosen in zip(SPLITS, (ids[:a], ids[a:b], ids[b:]), strict=True):
            parts[name].append(np.flatnonzero(of_class & np.isin(patients, chosen)))
    return {name: np.sort(np.concatenate(rows)) for name, rows in parts.items()}


def _strict(table: Dataset, labels: LabelSet, digests: Sequence[str]) -> Parts:
    patients = np.array(merged_patients(table["patient"], digests))
    drawn = _draw(patients, np.array(table["subgroup"]), [TRAIN, VAL, 1 - TRAIN - VAL])
    return dict(zip(SPLITS, drawn, strict=True))


def _draw(patients: np.ndarray, strata: np.ndarray, shares: Sequence[float]) -> list[np.ndarray]:
    """Deal patients into parts of the given shares, stratum by stratum; returns sorted row numbers per part."""
    stratum_of: dict[str, str] = {}
    for patient, stratum in sorted(zip(patients.tolist(), strata.tolist(), strict=True)):
        stratum_of.setdefault(patient, stratum)  # a patient with films of two kinds counts with the first
    members = defaultdict(list)
    for patient, stratum in sorted(stratum_of.items()):
        members[stratum].append(patient)
    generator = np.random.RandomState(SEED)
    part_of: dict[str, int] = {}
    for stratum in sorted(members):
        ids = members[stratum]
        generator.shuffle(ids)
        cuts = np.rint(np.cumsum(shares)[:-1] * len(ids)).astype(int)
        for part, chosen in enumerate(np.split(np.array(ids, dtype=object), cuts)):
            part_of.update(dict.fromkeys(chosen, part))
    parts = np.array([part_of[p] for p in patients.tolist()])
    return [np.flatnonzero(parts == part) for part in range(len(shares))]


PROTOCOLS: dict[str, Callable[[Dataset, LabelSet, Sequence[str]], Parts]] = {
    "official": _official,
    "paper": _paper,
    "strict": _strict,
}
